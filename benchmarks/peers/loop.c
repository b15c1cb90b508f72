/* The limit: what a person would write in C, knowing that only five numbers of the data matter.

   Adam as torch.optim states it, in double, without -ffast-math. The powers of beta are carried
   along instead of computed anew, which saves a call of pow() a step. */

#include <math.h>
#include <stddef.h>

typedef struct {
    double mean_x, variance_x, a, b, loss;
} bowl;

static const double BETA1 = 0.9, BETA2 = 0.999, EPS = 1e-8;

/* One run: losses has steps + 1 places, line holds the start and then the end. */
void fit_adam(const bowl *at, double lr, ptrdiff_t steps, double *losses, double *line)
{
    double a = line[0], b = line[1];
    double m_a = 0, m_b = 0, v_a = 0, v_b = 0, power1 = 1, power2 = 1;
    for (ptrdiff_t step = 0;; ++step) {
        const double e_a = a - at->a, shift = at->mean_x * e_a + (b - at->b);
        losses[step] = at->loss + at->variance_x * e_a * e_a + shift * shift;
        if (step == steps)
            break;
        const double g_a = 2 * (at->variance_x * e_a + at->mean_x * shift), g_b = 2 * shift;
        power1 *= BETA1;
        power2 *= BETA2;
        const double rate = lr / (1 - power1), root = sqrt(1 - power2);
        m_a += (1 - BETA1) * (g_a - m_a);
        m_b += (1 - BETA1) * (g_b - m_b);
        v_a = BETA2 * v_a + (1 - BETA2) * g_a * g_a;
        v_b = BETA2 * v_b + (1 - BETA2) * g_b * g_b;
        a -= rate * m_a / (sqrt(v_a) / root + EPS);
        b -= rate * m_b / (sqrt(v_b) / root + EPS);
    }
    line[0] = a;
    line[1] = b;
}

/* Lanes whose state of seven columns stays in the nearest cache. */
enum { BLOCK = 512 };

static void fit_block(const bowl *at, double *restrict a, double *restrict b,
                      const double *restrict lr, ptrdiff_t count, ptrdiff_t steps,
                      double *restrict losses, ptrdiff_t runs)
{
    double m_a[BLOCK], m_b[BLOCK], v_a[BLOCK], v_b[BLOCK];
    for (ptrdiff_t i = 0; i < count; ++i)
        m_a[i] = m_b[i] = v_a[i] = v_b[i] = 0;
    const double mean_x = at->mean_x, variance_x = at->variance_x;
    const double best_a = at->a, best_b = at->b, least = at->loss;
    double power1 = 1, power2 = 1;
    for (ptrdiff_t step = 0;; ++step) {
        double *restrict row = losses + step * runs;
        if (step == steps) {
            for (ptrdiff_t i = 0; i < count; ++i) {
                const double e_a = a[i] - best_a, shift = mean_x * e_a + (b[i] - best_b);
                row[i] = least + variance_x * e_a * e_a + shift * shift;
            }
            return;
        }
        power1 *= BETA1;
        power2 *= BETA2;
        const double damp = 1 - power1, root = sqrt(1 - power2);
        for (ptrdiff_t i = 0; i < count; ++i) {
            const double e_a = a[i] - best_a, shift = mean_x * e_a + (b[i] - best_b);
            row[i] = least + variance_x * e_a * e_a + shift * shift;
            const double g_a = 2 * (variance_x * e_a + mean_x * shift), g_b = 2 * shift;
            const double rate = lr[i] / damp;
            m_a[i] += (1 - BETA1) * (g_a - m_a[i]);
            m_b[i] += (1 - BETA1) * (g_b - m_b[i]);
            v_a[i] = BETA2 * v_a[i] + (1 - BETA2) * g_a * g_a;
            v_b[i] = BETA2 * v_b[i] + (1 - BETA2) * g_b * g_b;
            a[i] -= rate * m_a[i] / (sqrt(v_a[i]) / root + EPS);
            b[i] -= rate * m_b[i] / (sqrt(v_b[i]) / root + EPS);
        }
    }
}

/* Many runs, one rate each: losses has (steps + 1) rows of `runs`; a and b are moved. */
void fit_adam_lanes(const bowl *at, double *a, double *b, const double *lr, ptrdiff_t first,
                    ptrdiff_t last, ptrdiff_t runs, ptrdiff_t steps, double *losses)
{
    for (ptrdiff_t at_lane = first; at_lane < last; at_lane += BLOCK) {
        const ptrdiff_t left = last - at_lane;
        fit_block(at, a + at_lane, b + at_lane, lr + at_lane, left < BLOCK ? left : BLOCK, steps,
                  losses + at_lane, runs);
    }
}

/* One pass over the points: means, variances and covariance, shifted by the first point. */
enum { LANES = 16 };

void sum_moments(const double *restrict x, const double *restrict y, ptrdiff_t count, double *out)
{
    double s_x[LANES] = {0}, s_y[LANES] = {0};
    double s_xx[LANES] = {0}, s_xy[LANES] = {0}, s_yy[LANES] = {0};
    const double from_x = x[0], from_y = y[0];
    ptrdiff_t at = 0;
    for (; at + LANES <= count; at += LANES)
        for (int i = 0; i < LANES; ++i) {
            const double u = x[at + i] - from_x, v = y[at + i] - from_y;
            s_x[i] += u;
            s_y[i] += v;
            s_xx[i] += u * u;
            s_xy[i] += u * v;
            s_yy[i] += v * v;
        }
    for (; at < count; ++at) {
        const double u = x[at] - from_x, v = y[at] - from_y;
        s_x[0] += u;
        s_y[0] += v;
        s_xx[0] += u * u;
        s_xy[0] += u * v;
        s_yy[0] += v * v;
    }
    double u = 0, v = 0, uu = 0, uv = 0, vv = 0;
    for (int i = 0; i < LANES; ++i) {
        u += s_x[i] / count;
        v += s_y[i] / count;
        uu += s_xx[i] / count;
        uv += s_xy[i] / count;
        vv += s_yy[i] / count;
    }
    out[0] = from_x + u;
    out[1] = from_y + v;
    out[2] = uu - u * u;
    out[3] = uv - u * v;
    out[4] = vv - v * v;
}
