"""Machine code of loops: made by numba once, kept on disk, and loaded from there without numba; or assembled by LLVM.

Importing numba and calling a first function from its own cache takes half a second and 70 MiB; loading an object file by LLVM
takes some milliseconds. A file is named by a digest of all that it was made from: the loop and those that it calls, the
numbers that they use, the types of the arguments, the processor, and the version of LLVM.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import tempfile
import threading
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
Function: TypeAlias = Callable[..., Any]
Signature: TypeAlias = tuple[tuple[str, int], ...]
"""For each argument the type of its samples and how many axes it has: ("<f4", 1), ("<i8", 0), and ("", 0) for None."""

_OPTIONS = {"fastmath": False, "boundscheck": False, "error_model": "numpy", "_nrt": False}
_TAKEN = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64}
"""Arguments of functions in LLVM's language, as ctypes has them."""
_loading = threading.Lock()
"""There is one engine, and LLVM changes it for one thread at a time."""
_DIGEST = 16
"""Bytes of the digest at the start of a file, of what follows."""


def signature(arguments: Sequence[Any]) -> Signature:
    """The types of arguments: arrays whose samples follow each other in memory, numbers, and None."""
    return tuple(_type(argument) for argument in arguments)


def _type(argument: Any) -> tuple[str, int]:
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise ValueError("a compiled loop takes C-contiguous arrays")
        return argument.dtype.str, argument.ndim
    if argument is None:
        return "", 0
    return np.dtype(type(argument)).str, 0


def part(function: F) -> F:
    """Mark ``function`` as a part of loops, compiled with each that calls it."""
    function.is_part = True  # type: ignore[attr-defined]  # a function takes any attribute
    return function


def machine_code(function: Function, kinds: Signature) -> Function:
    """``function``, and the parts that it calls, as machine code for arguments of some types.

    Its calls let other threads run meanwhile.
    """
    name = _name(function, kinds)
    with _loading:
        address = _engine().get_function_address(name)
        if not address:
            path = folder() / f"{name}.o"
            code = _kept(path)
            if code is None:
                code = _compiled(name, function, kinds)
                _keep(path, code)
            address = _loaded(name, code)
    takes: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    for dtype, axes in kinds:
        if axes:  # its owners; how many samples, and how large; where they are; the length of each axis, and the steps
            takes += [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2 + [ctypes.c_void_p] + [ctypes.c_int64] * 2 * axes
        elif dtype:
            takes.append(np.ctypeslib.as_ctypes_type(np.dtype(dtype)))
    call = ctypes.CFUNCTYPE(ctypes.c_int32, *takes)(address)
    return functools.partial(_called, call)


def assembled(name: str, text: str) -> Callable[..., None]:
    """A function written in LLVM's language, of addresses and 64-bit numbers. A name stands for one text.

    Its calls let other threads run meanwhile.
    """
    from llvmlite import binding

    with _loading:
        address = _engine().get_function_address(name)  # which makes LLVM ready, too
        module = binding.parse_assembly(text)
        takes = [_TAKEN[str(argument.type)] for argument in module.get_function(name).arguments]
        if not address:
            module.verify()
            address = _loaded(name, _machine().emit_object(module))
    function: Callable[..., None] = ctypes.CFUNCTYPE(None, *takes)(address)
    return function


def _loaded(name: str, code: bytes) -> int:
    """The address of a function in an object file."""
    from llvmlite import binding

    engine = _engine()
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address: int = engine.get_function_address(name)
    return address


def processor_has(feature: str) -> bool:
    """Whether code may be made for an instruction set, by LLVM's name: ``"avx2"``."""
    return f"+{feature}" in processor()[1].split(",")


def _called(call: Callable[..., int], *arguments: Any) -> None:
    returned, failed = ctypes.c_void_p(), ctypes.c_void_p()
    values: list[Any] = [ctypes.byref(returned), ctypes.byref(failed)]
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            values += (None, None, argument.size, argument.itemsize, argument.ctypes.data)
            values += (*argument.shape, *argument.strides)
        elif argument is not None:
            values.append(argument.item() if isinstance(argument, np.generic) else argument)
    if call(*values):
        raise RuntimeError("a compiled loop failed")


@functools.cache
def _engine() -> Any:
    """What holds the machine code of this process."""
    from llvmlite import binding

    return binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())


def _machine() -> Any:
    """A compiler for this processor; an engine owns the one that it is made with."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    name, features = processor()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(name, features, 3, codemodel="jitdefault", jit=True)


@functools.cache
def processor() -> tuple[str, str]:
    """The processor's name and instruction sets, or those that numba's variables ask for."""
    from llvmlite import binding

    name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    return (
        name or binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten() if features is None else features,
    )


def folder() -> Path:
    """Where machine code is kept: ``IMGRS_CACHE_DIR``, or the user's folder for such."""
    given = os.environ.get("IMGRS_CACHE_DIR")
    if given:
        return Path(given)
    import platformdirs

    return platformdirs.user_cache_path("imgrs")


def _name(function: Function, kinds: Signature) -> str:
    import llvmlite

    text = repr((_source(function), kinds, processor(), llvmlite.__version__, sorted(_OPTIONS.items())))
    return f"{function.__name__.strip('_')}_{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"


def _source(function: Function) -> tuple[Any, ...]:
    """A function as Python has compiled it, the numbers of its module that it uses, and its parts."""
    code: types.CodeType = function.__code__
    known = ((name, function.__globals__.get(name)) for name in code.co_names)
    numbers = [(name, value) for name, value in known if isinstance(value, (int, float))]
    parts = [_source(value) for value in _parts(function).values()]
    return code.co_code, repr(code.co_consts), code.co_names, code.co_varnames, numbers, parts


def _parts(function: Function) -> dict[str, Function]:
    """The parts that a function calls, by name."""
    known = ((name, function.__globals__.get(name)) for name in function.__code__.co_names)
    return {name: value for name, value in known if value is not None and getattr(value, "is_part", False)}


def _kept(path: Path) -> bytes | None:
    """What was kept, if it is as it was written."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    code = data[_DIGEST:]
    return code if code and _digest(code) == data[:_DIGEST] else None


def _keep(path: Path, code: bytes) -> None:
    """Write a file that appears at once, if there is a place for it: where there is none, each process compiles."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(_digest(code) + code)
        os.replace(temporary, path)


def _digest(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_DIGEST).digest()


def _compiled(name: str, function: Function, kinds: Signature) -> bytes:
    """An object file with the function as numba calls it: two addresses come first, for what it returns and its error."""
    import numba
    from llvmlite import binding

    given = [f"a{i}" if dtype else "None" for i, (dtype, _) in enumerate(kinds)]
    takes = [argument for argument in given if argument != "None"]
    known: dict[str, Any] = {"function": _jitted(function)}
    exec(f"def loop({', '.join(takes)}):\n    function({', '.join(given)})\n", known)
    types_of = tuple(_numba_type(*kind) for kind in kinds if kind[0])
    made = numba.njit(types_of, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(known["loop"])
    text = made.inspect_llvm(types_of).replace(made.overloads[types_of].fndesc.llvm_func_name, name)
    code: bytes = _machine().emit_object(binding.parse_assembly(text))
    return code


def _numba_type(dtype: str, axes: int) -> Any:
    import numba

    sample = numba.from_dtype(np.dtype(dtype))
    return numba.types.Array(sample, axes, "C") if axes else sample


def _jitted(function: Function) -> Any:
    """A function as numba has it, its parts with it."""
    import numba

    called = {name: _jitted(value) for name, value in _parts(function).items()}
    whole = types.FunctionType(function.__code__, {**function.__globals__, **called}, function.__name__)
    return numba.njit(**_OPTIONS)(whole)
