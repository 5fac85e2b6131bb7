"""A property computed once: `functools.cached_property` without its lock.

Before Python 3.12 that lock is one for all instances of a class. A thread that computes a property of one fit while it
waits for equations that another thread has, and the other way round, would wait for ever, and so would a forked process
whose parent was just computing. Without a lock two threads may compute the same value;
both get the one that came first. One that asks ``super()`` for the same name is a plain `property`: an instance keeps
one value under a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class cached_property(Generic[T]):
    """The value of a method without arguments, kept in the instance under the method's name."""

    def __init__(self, function: Callable[[Any], T]):
        self.function, self.__doc__ = function, function.__doc__
        self.name = function.__name__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self.name, self.function(instance))
