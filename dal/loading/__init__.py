"""What to fetch with a query, and what the first touch of everything else does.

`lazy()`, `batched()`, `eager()`, `hybrid()` and `strict()` make policies; `using_policy` sets one for a block.
"""

from dal.loading.allow import AllowList
from dal.loading.layers import Policies, apply_policy, using_policy
from dal.loading.makers import batched, eager, hybrid, lazy, strict
from dal.loading.named import named_policies
from dal.loading.policy import Policy
from dal.loading.strict import NotLoadedWarning

__all__ = [
    "AllowList",
    "NotLoadedWarning",
    "Policies",
    "Policy",
    "apply_policy",
    "batched",
    "eager",
    "hybrid",
    "lazy",
    "named_policies",
    "strict",
    "using_policy",
]
