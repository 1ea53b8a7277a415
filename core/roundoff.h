/* What rounding to f32 may add. */
#ifndef RT_CORE_ROUNDOFF_H
#define RT_CORE_ROUNDOFF_H

/* u: the most that a number moves as it is rounded, as a share of it, underflow aside. */
#define RT_ROUNDOFF 0x1p-24

/* gamma(m) = m u / (1 - m u): the same of m roundings, one behind the other, for m u < 1 (N. J.
 * Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., Lemma 3.1). */
static inline double rt_gamma(double m)
{
    return m * RT_ROUNDOFF / (1 - m * RT_ROUNDOFF);
}

#endif
