# gam prints standard deviations; the plain table has what `rb.read_results` takes from anyone.
suppressMessages(library(mgcv))
d <- read.csv("data.csv", stringsAsFactors = TRUE)
d$nitroF <- factor(d$nitroF)
d$plot <- interaction(d$Block, d$Variety, sep = ":")
fit <- gam(yield ~ nitroF * Variety + s(Block, bs = "re") + s(plot, bs = "re"), data = d, method = "REML",
           control = gam.control(newton = list(conv.tol = 1e-12)))
invisible(capture.output(found <- gam.vcomp(fit)))
p <- fit$nsdf
row <- function(quantity, term, level, estimate, std_error)
  data.frame(quantity, term, effect = "", level, estimate = format(estimate, digits = 15), std_error)
groups <- c("Block", "plot")
random <- do.call(rbind, Map(function(g, s) row("random", g, levels(d[[g]]), coef(fit)[s$first.para:s$last.para], NA),
                             groups, fit$smooth))
write.csv(rbind(
  row("component", c(groups, "residual"), "", unname(found[, "std.dev"])^2, NA),
  row("fixed", names(coef(fit))[seq_len(p)], "", coef(fit)[seq_len(p)], sqrt(diag(vcov(fit)))[seq_len(p)]),
  random,
  row("loglik", "", "", -as.numeric(fit$gcv.ubre), NA)
), "results.csv", row.names = FALSE)
