/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/simd_math.h - exp and tanh of a vector, in terms of the operations that the including file defines for
 * its instruction set (see simd_float.h).
 *
 * Coefficients: weighted minimax fits (Lawson's iteration over 2001 Chebyshev nodes) rounded to float32 one after the
 * other, refitting the rest. Errors as measured over all float32 arguments by `test_kernels` and stated there. */
#ifndef GEM_KERNELS_SIMD_MATH_H
#define GEM_KERNELS_SIMD_MATH_H

/* e^(x + tail), |tail| far below 1: 2^i e^r, i = round(x / ln 2), |r| <= ln(2) / 2, e^r = 1 + r + r^2 p(r); p's part of
 * the error is 3.1e-9. ln 2 is split so that i times its head is exact (9 bits times 8). Results below the normal range
 * round once, those above are infinite, e^-inf = 0, NaN stays. */
static INLINE vf v_exp_sum(vf x, vf tail)
{
    /* The argument comes second: min and max return their second operand when one is NaN. */
    const vf a = v_min(v_set(89.0f), v_max(v_set(-104.0f), x));
    const vf i = v_round(v_mul(a, v_set(0x1.715476p+0f)));
    const vf r = v_add(v_fnma(i, v_set(-0x1.bd0106p-13f), v_fnma(i, v_set(0x1.63p-1f), a)), tail);
    vf p = v_set(0x1.6a4748p-10f);

    p = v_fma(p, r, v_set(0x1.1239a2p-7f));
    p = v_fma(p, r, v_set(0x1.5558b6p-5f));
    p = v_fma(p, r, v_set(0x1.555492p-3f));
    p = v_fma(p, r, v_set(0x1.fffffcp-2f));
    p = v_add(v_fma(v_mul(r, r), p, r), v_set(1.0f));
    return v_scale2(p, i);
}

static INLINE vf v_exp(vf x) { return v_exp_sum(x, v_set(0.0f)); }

/* e^(a - b). Rounding a difference of 60 would cost 2e-6 of the result: what it loses (Knuth's TwoSum) goes into the
 * exponent as well. It is below 1e-5 where the result is not 0; the limits keep infinities out. */
static INLINE vf v_exp_difference(vf a, vf b)
{
    const vf d = v_sub(a, b), part = v_sub(a, d);
    const vf lost = v_add(v_sub(a, v_add(d, part)), v_sub(part, b)), limit = v_set(1e-5f);

    return v_exp_sum(d, v_max(v_min(lost, limit), v_sub(v_set(0.0f), limit)));
}

/* |x| < 0.625: x + x^3 p(x^2), whose part of the relative error is 4.5e-9; else 1 - 2 / (e^(2|x|) + 1), with the sign
 * of x. */
static INLINE vf v_tanh(vf x)
{
    const vf a = v_abs(x), z = v_mul(a, a), one = v_set(1.0f), two = v_set(2.0f);
    const vf large = v_sub(one, v_div(two, v_add(v_exp(v_mul(a, two)), one)));
    vf p = v_set(-0x1.750ce2p-8f);

    p = v_fma(p, z, v_set(0x1.51f8cep-6f));
    p = v_fma(p, z, v_set(-0x1.b835a4p-5f));
    p = v_fma(p, z, v_set(0x1.1106f6p-3f));
    p = v_fma(p, z, v_set(-0x1.555532p-2f));
    p = v_fma(v_mul(z, a), p, a);
    return v_or_sign(v_select_less(a, v_set(0.625f), p, large), x);
}

#endif
