"""Rows of a few numbers, added as a whole inside compiled functions: one vector instruction or two in place of a loop.

Rows are named by their address. Every column is summed by itself and in the order written, so that the digits depend
neither on the processor nor on how many columns a row has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from remlblup.linalg.compiler import extending, types

intrinsic: Any = extending.intrinsic  # annotated as if its functions kept the typing context

_ADDRESS = types.intp


def _loader(context: Any, builder: Any, width: Any) -> Any:
    """A function from an address to the pointer of a row of `width` numbers."""
    row = ir.VectorType(ir.DoubleType(), width.literal_value).as_pointer()
    return lambda address: builder.inttoptr(address, row)


@intrinsic(prefer_literal=True)
def add_to_four(typing_context: Any, source: Any, a: Any, b: Any, c: Any, d: Any, width: Any) -> Any:
    """Add the row at `source` to those at a, b, c and d, which are different rows."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _loader(context, builder, width)
        summand = builder.load(row(arguments[0]), align=8)
        for target in map(row, arguments[1:5]):
            builder.store(builder.fadd(builder.load(target, align=8), summand), target, align=8)
        return context.get_dummy_value()

    return types.void(*[_ADDRESS] * 5, width), build


@intrinsic(prefer_literal=True)
def add_four(typing_context: Any, target: Any, a: Any, b: Any, c: Any, d: Any, width: Any) -> Any:
    """Add (a + b) + (c + d), rows at these addresses, to the row at `target`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _loader(context, builder, width)
        total, *four = (builder.load(row(address), align=8) for address in arguments[:5])
        halves = builder.fadd(four[0], four[1]), builder.fadd(four[2], four[3])
        builder.store(builder.fadd(total, builder.fadd(*halves)), row(arguments[0]), align=8)
        return context.get_dummy_value()

    return types.void(*[_ADDRESS] * 5, width), build


@intrinsic(prefer_literal=True)
def add_scaled(typing_context: Any, target: Any, factor: Any, source: Any, width: Any) -> Any:
    """Add a multiple of the row at `source` to the row at `target`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _loader(context, builder, width)
        vector = ir.VectorType(ir.DoubleType(), width.literal_value)
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[1], ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), width.literal_value), [0] * width.literal_value)
        factors = builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)
        product = builder.fmul(factors, builder.load(row(arguments[2]), align=8))
        builder.store(builder.fadd(builder.load(row(arguments[0]), align=8), product), row(arguments[0]), align=8)
        return context.get_dummy_value()

    return types.void(_ADDRESS, types.float64, _ADDRESS, width), build


@intrinsic(prefer_literal=True)
def set_sum(typing_context: Any, target: Any, a: Any, b: Any, width: Any) -> Any:
    """Make the row at `target` the sum of those at a and b."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _loader(context, builder, width)
        total = builder.fadd(*(builder.load(row(address), align=8) for address in arguments[1:3]))
        builder.store(total, row(arguments[0]), align=8)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _ADDRESS, width), build


@intrinsic(prefer_literal=True)
def set_sum_of_sixteen(typing_context: Any, target: Any, source: Any, stride: Any, width: Any) -> Any:
    """Make the row at `target` the sum of 16 rows, `stride` bytes apart, from that at `source`, one after the other."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _loader(context, builder, width)
        address, total = arguments[1], builder.load(row(arguments[1]), align=8)
        for _ in range(15):
            address = builder.add(address, arguments[2])
            total = builder.fadd(total, builder.load(row(address), align=8))
        builder.store(total, row(arguments[0]), align=8)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _ADDRESS, width), build
