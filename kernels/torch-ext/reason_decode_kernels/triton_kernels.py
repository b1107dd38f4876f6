"""The Triton programs. They compute in units of log2, so that an exponential is one instruction.

The sum of exponentials of a row is held as a running (maximum, sum). In differences a maximum that
is not finite counts as 0. A row of nothing but -inf then ends as -inf, a row with +inf as +inf and
a row with NaN as NaN; inf - inf would make all three NaN.

This file must not have ``from __future__ import annotations``: Triton needs the annotations below
as objects.
"""

import triton
import triton.language as tl

_LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _finite(x):
    """x, or 0.0 where it is infinite or NaN."""
    return tl.where(tl.abs(x) < float("inf"), x, 0.0)


@triton.jit
def logits_kernel(
    logits,
    offsets,
    targets,
    picked,
    lse,
    vocabulary,
    stride_v,
    scale,
    BLOCK: tl.constexpr,
):
    """Logsumexp and target's logit of one row per program, in units of log2.

    ``offsets`` (r,) int64 are the rows' starts in elements, so that logits may have any strides.
    """
    row = tl.program_id(0).to(tl.int64)
    start = logits + tl.load(offsets + row)
    peak = tl.full((), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, vocabulary, BLOCK):
        columns = first + tl.arange(0, BLOCK).to(tl.int64)
        x = tl.load(start + columns * stride_v, columns < vocabulary, -float("inf"))
        x = x.to(tl.float32) * scale
        new = tl.maximum(peak, tl.max(x))
        # Each thread sums over its own columns; these sums are added up once, after the loop.
        total = total * tl.exp2(peak - _finite(new)) + tl.exp2(x - _finite(new))
        peak = new
    target = tl.load(targets + row)
    inside = (target >= 0) & (target < vocabulary)
    logit = tl.load(start + target * stride_v, inside, 0.0).to(tl.float32) * scale
    tl.store(picked + row, tl.where(inside, logit, float("nan")))
    tl.store(lse + row, _finite(peak) + tl.log2(tl.sum(total)))


@triton.jit
def _tile(
    states,
    weight,
    rows,
    columns,
    row,
    column,
    hidden,
    stride_t,
    stride_v,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
    EVEN_H: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """``states @ weight.T`` of one tile: (BLOCK_T, BLOCK_V) float32, not rounded to DTYPE."""
    acc = tl.zeros((BLOCK_T, BLOCK_V), tl.float32)
    for k in range(0, hidden, BLOCK_H):
        if DESCRIPTORS:
            a = states.load([row, k])
            b = weight.load([column, k])
        else:
            inner = k + tl.arange(0, BLOCK_H)
            a_at = states + rows[:, None] * stride_t + inner[None, :]
            b_at = weight + columns[:, None] * stride_v + inner[None, :]
            if EVEN_H:
                a = tl.load(a_at)
                b = tl.load(b_at)
            else:
                a = tl.load(a_at, inner[None, :] < hidden, 0.0)
                b = tl.load(b_at, inner[None, :] < hidden, 0.0)
        acc = tl.dot(a.to(DTYPE), b.to(DTYPE).T, acc, input_precision=PRECISION)
    return acc


@triton.jit
def _sweep(
    states,
    weight,
    bias,
    targets,
    picked,
    peaks,
    totals,
    row,
    first,
    tokens,
    vocabulary,
    hidden,
    stride_t,
    stride_v,
    softcap,
    scale,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
    TILES: tl.constexpr,
    EVEN_H: tl.constexpr,
    BIAS: tl.constexpr,
    SOFTCAP: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """Work through the TILES tiles of one split of the vocabulary for one tile of tokens."""
    places = row + tl.arange(0, BLOCK_T)
    inside = places < tokens
    # Rows and columns past the end read the last one instead; their results are masked out.
    rows = tl.minimum(places, tokens - 1).to(tl.int64)
    target = tl.load(targets + rows).to(tl.int32)
    peak = tl.full((BLOCK_T,), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK_T,), tl.float32)
    found = tl.zeros((BLOCK_T,), tl.float32)
    for column in range(first, tl.minimum(first + TILES * BLOCK_V, vocabulary), BLOCK_V):
        lanes = tl.arange(0, BLOCK_V)
        columns = tl.minimum(column + lanes, vocabulary - 1).to(tl.int64)
        x = _tile(
            states,
            weight,
            rows,
            columns,
            row,
            column,
            hidden,
            stride_t,
            stride_v,
            BLOCK_T,
            BLOCK_V,
            BLOCK_H,
            EVEN_H,
            DTYPE,
            PRECISION,
            DESCRIPTORS,
        )
        if BIAS:
            x += tl.load(bias + columns).to(tl.float32)[None, :]
        if SOFTCAP:
            # tanh(y) = 2 sigmoid(2 y) - 1
            x = softcap * (2 * tl.sigmoid(2 * x / softcap) - 1)
        # Lane numbers are constants and take no registers, unlike column numbers. Comparing lanes,
        # in this order, keeps a tile of 128 x 256 within 255 registers (kernels/README.md).
        x = tl.where(lanes[None, :] < vocabulary - column, x, -float("inf"))
        new = tl.maximum(peak, tl.max(x, 1) * scale)
        found += tl.sum(tl.where(lanes[None, :] == (target - column)[:, None], x, 0.0), 1)
        shift = _finite(new)
        total *= tl.exp2(peak - shift)
        total += tl.sum(tl.exp2(x * scale - shift[:, None]), 1)
        peak = new
    last = tl.minimum(first + TILES * BLOCK_V, vocabulary)
    # Exactly one split has the target's column.
    tl.store(picked + rows, found * scale, inside & (target >= first) & (target < last))
    tl.store(peaks + rows, peak, inside)
    tl.store(totals + rows, total, inside)


# Without this, Triton would compile another program for a number that is 1 or a multiple of 16.
@triton.jit(do_not_specialize=["tokens", "splits"])
def linear_kernel(
    states,
    others,
    weight,
    bias,
    targets,
    picked,
    peaks,
    totals,
    tokens,
    vocabulary,
    hidden,
    stride_t,
    stride_o,
    stride_v,
    splits,
    softcap,
    scale,
    CONTEXTS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
    TILES: tl.constexpr,
    GROUP: tl.constexpr,
    EVEN_H: tl.constexpr,
    BIAS: tl.constexpr,
    SOFTCAP: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """Partial results for one tile of tokens after one context, over one split of the vocabulary.

    Writes the running (maximum, sum) of the split to ``peaks`` and ``totals`` (splits, contexts,
    tokens), to be merged in a fixed order, and the logits of targets in the split to ``picked``
    (contexts, tokens); all in units of log2. ``others`` are the states after the second context.

    The order of programs is chosen for the L2 cache: those that run at the same time belong to
    GROUP tiles of tokens (with both contexts of the same tokens side by side) and neighbouring
    splits, so that they read the same operands.
    """
    program = tl.program_id(0)
    tiles = tl.cdiv(tokens, BLOCK_T) * CONTEXTS
    group = program // (GROUP * splits)
    size = tl.minimum(tiles - group * GROUP, GROUP)
    within = program - group * GROUP * splits
    split = within // size
    tile = group * GROUP + within % size
    # A descriptor cannot be selected at run time, so each context has its own copy of the loop.
    for context in tl.static_range(CONTEXTS):  # pyright: ignore[reportGeneralTypeIssues]
        if tile % CONTEXTS == context:
            _sweep(
                states if context == 0 else others,
                weight,
                bias,
                targets,
                picked + context * tokens.to(tl.int64),
                peaks + (split.to(tl.int64) * CONTEXTS + context) * tokens,
                totals + (split.to(tl.int64) * CONTEXTS + context) * tokens,
                tile // CONTEXTS * BLOCK_T,
                split * TILES * BLOCK_V,
                tokens,
                vocabulary,
                hidden,
                stride_t if context == 0 else stride_o,
                stride_v,
                softcap,
                scale,
                BLOCK_T,
                BLOCK_V,
                BLOCK_H,
                TILES,
                EVEN_H,
                BIAS,
                SOFTCAP,
                DTYPE,
                PRECISION,
                DESCRIPTORS,
            )
