"""Reads ahead and stores past the cache, for compiled loops (numba) over more memory than caches hold.

An ordinary store first fetches the line of memory that it is about to overwrite, and leaves it in the cache, where it
is in the way of what is read again. LLVM knows a store that does neither, and a request to fetch ahead.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

VALUES = 16
"""float32 values that are stored at once: a line of the cache, at an address that is a multiple of its bytes."""
LINE_BYTES = 64
_LANES = ir.VectorType(ir.FloatType(), VALUES)
_FLAG = ir.IntType(32)


@intrinsic
def store_past_cache(typing: Any, source: Any, at: Any, target: Any, to: Any) -> Any:  # noqa: ARG001
    """`target[to : to + 16] = source[at : at + 16]`, arrays of one dimension, float32; `target[to]` must be aligned.

    Others see it after `settle`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = builder.load(_address(context, builder, signature, arguments, 0, _LANES), align=4)
        store = builder.store(values, _address(context, builder, signature, arguments, 2, _LANES), align=LINE_BYTES)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_FLAG, 1)]))
        return context.get_dummy_value()

    return types.void(source, types.uint64, target, types.uint64), generate


@intrinsic
def fetch_ahead(typing: Any, array: Any, at: Any) -> Any:  # noqa: ARG001
    """Begin to read the line of the cache that holds `array[at]`; a place outside the array does no harm."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments, 0, ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [address.type, _FLAG, _FLAG, _FLAG])
        prefetch = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0"
        )
        read, second_level, data = (ir.Constant(_FLAG, value) for value in (0, 2, 1))
        builder.call(prefetch, [address, read, second_level, data])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


@intrinsic
def settle(typing: Any) -> Any:  # noqa: ARG001
    """Wait until all stores of this thread are seen by the others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _address(context: Any, builder: Any, signature: Any, arguments: Any, number: int, kind: Any) -> Any:
    """Of the element of array `number` that the argument behind it names."""
    array = context.make_array(signature.args[number])(context, builder, arguments[number])
    return builder.bitcast(builder.gep(array.data, [arguments[number + 1]]), kind.as_pointer())
