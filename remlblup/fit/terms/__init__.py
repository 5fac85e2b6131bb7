"""What terms of one kind have to show: factors, random regressions, fields, markers."""
