"""Any event that the types allow, however strange: made from the types themselves."""

import json
from datetime import timezone
from typing import Any

import msgspec.inspect as kinds
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from models.events import CLASS_OF
from models.times import MAX_INSTANT

# Text that UTF-8 can write; ids may hold anything of it.
texts = st.text(st.characters(exclude_categories=("Cs",)))
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
_huge = st.sampled_from(
    [10**18, -(10**18), 2**63, 2**64, -(2**63) - 1, 10**40, 1e300, -0.0, 5e-324]
)


def values(kind: Any) -> SearchStrategy[Any]:
    """JSON values that msgspec takes for a type."""
    match kind:
        case kinds.UnionType():
            return st.one_of([values(one) for one in kind.types])
        case kinds.Metadata():
            return values(kind.type)
        case kinds.NoneType():
            return st.none()
        case kinds.BoolType():
            return st.booleans()
        case kinds.LiteralType():
            return st.sampled_from(sorted(kind.values))
        case kinds.StrType(pattern=pattern) if pattern is not None:
            return st.from_regex(pattern, fullmatch=True).map(str.strip)
        case kinds.StrType():
            least, most = kind.min_length or 0, min(kind.max_length or 300, 300)
            return st.text(st.characters(exclude_categories=("Cs",)), min_size=least, max_size=most)
        case kinds.FloatType():
            least = kind.ge if kind.ge is not None else kind.gt
            return st.floats(
                least,
                kind.le,
                allow_nan=False,
                allow_infinity=False,
                exclude_min=kind.gt is not None,
            )
        case kinds.IntType():
            return st.integers(0, MAX_INSTANT)
        case kinds.DateTimeType():
            return st.datetimes(timezones=st.just(timezone.utc)).map(  # noqa: UP017
                lambda moment: moment.isoformat()
            )
        case kinds.VarTupleType():
            most = min(kind.max_length or 4, 4)
            return st.lists(values(kind.item_type), max_size=most)
        case kinds.DictType():
            return st.dictionaries(values(kind.key_type), values(kind.value_type), max_size=4)
        case kinds.StructType():
            return st.fixed_dictionaries(
                {field.encode_name: values(field.type) for field in kind.fields}
            )
        case kinds.AnyType():
            return _json | _huge
    raise NotImplementedError(f"{kind}: say what JSON makes one")


@st.composite
def events(draw: st.DrawFn, kind: str, at: int, member_id: str) -> bytes:
    """An event of one type with fields of any value, at a time and of a member."""
    info = kinds.type_info(CLASS_OF[kind])
    assert isinstance(info, kinds.StructType)
    made = {"type": kind, "occurred_at": at, "member_id": member_id}
    for field in info.fields:
        name = field.encode_name
        if name not in made and (field.required or draw(st.booleans())):
            made[name] = draw(values(field.type))
    return json.dumps(made).encode()
