/* Forward and backward passes of layers of recurrent cells of any recipe, and Adam: single precision, one thread.

   What `network.CellNetwork` does, for small networks, whose training by PyTorch is mostly overhead. Arrays are row-major; a row is one
   entry of the batch at one time, row = time * batch + entry. Weights stand as in PyTorch, (out, in). Of every node all values are kept;
   slot 0 of a new state holds the state before the first step, so that an old state is the same array, one slot earlier. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef float v8 __attribute__((vector_size(32), aligned(4)));
enum { LINEAR, TANH, SIGMOID, LEAKY, SUM, PRODUCT, BLEND, MOST_INPUTS = 4, INPUT = 1000, OLD = 2000 };
#define SLOPE 0.01f

typedef struct {
    int nodes, states, layers, width, batch, steps, inputs, outputs, continuous, squares;
    const int *operation, *count, *reads, *new_states; /* reads: MOST_INPUTS per node: a node, INPUT, or OLD + state */
} Plan;

/* c (m, n) += a (m, k) b (k, n), where a[i][j] is a[i * row + j * column]; n is a multiple of 16. */
static void multiply(int m, int n, int k, const float *a, int row, int column, const float *b, int ldb, float *c, int ldc) {
    for (int j = 0; j < n; j += 16) {
        int i = 0;
        for (; i + 4 <= m; i += 4) {
            const float *a0 = a + (long)i * row, *a1 = a0 + row, *a2 = a1 + row, *a3 = a2 + row;
            float *c0 = c + (long)i * ldc + j, *c1 = c0 + ldc, *c2 = c1 + ldc, *c3 = c2 + ldc;
            v8 p0 = *(v8 *)c0, q0 = *(v8 *)(c0 + 8), p1 = *(v8 *)c1, q1 = *(v8 *)(c1 + 8);
            v8 p2 = *(v8 *)c2, q2 = *(v8 *)(c2 + 8), p3 = *(v8 *)c3, q3 = *(v8 *)(c3 + 8);
            const float *bl = b + j;
            for (int l = 0; l < k; l++, bl += ldb) {
                v8 s = *(const v8 *)bl, t = *(const v8 *)(bl + 8);
                long at = (long)l * column;
                p0 += a0[at] * s; q0 += a0[at] * t;
                p1 += a1[at] * s; q1 += a1[at] * t;
                p2 += a2[at] * s; q2 += a2[at] * t;
                p3 += a3[at] * s; q3 += a3[at] * t;
            }
            *(v8 *)c0 = p0; *(v8 *)(c0 + 8) = q0; *(v8 *)c1 = p1; *(v8 *)(c1 + 8) = q1;
            *(v8 *)c2 = p2; *(v8 *)(c2 + 8) = q2; *(v8 *)c3 = p3; *(v8 *)(c3 + 8) = q3;
        }
        for (; i < m; i++) {
            v8 p = *(v8 *)(c + (long)i * ldc + j), q = *(v8 *)(c + (long)i * ldc + j + 8);
            for (int l = 0; l < k; l++) {
                float s = a[(long)i * row + (long)l * column];
                p += s * *(const v8 *)(b + (long)l * ldb + j);
                q += s * *(const v8 *)(b + (long)l * ldb + j + 8);
            }
            *(v8 *)(c + (long)i * ldc + j) = p;
            *(v8 *)(c + (long)i * ldc + j + 8) = q;
        }
    }
}

/* exp, to about one unit in the last place, in a form that compilers vectorize. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    union { int i; float f; } scale = {((int)whole + 127) << 23};
    return (p * r * r + r + 1.0f) * scale.f;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

static void transpose(int rows, int columns, const float *from, float *to, int ldto) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) to[(long)j * ldto + i] = from[(long)i * columns + j];
}

/* One elementwise node over `size` numbers. */
static void apply(int operation, const float *const *in, float *out, long size) {
    const float *a = in[0], *b = in[1], *c = in[2];
    switch (operation) {
    case TANH: for (long i = 0; i < size; i++) out[i] = 2.0f * sigmoid(2.0f * a[i]) - 1.0f; break;
    case SIGMOID: for (long i = 0; i < size; i++) out[i] = sigmoid(a[i]); break;
    case LEAKY: for (long i = 0; i < size; i++) out[i] = a[i] > 0 ? a[i] : SLOPE * a[i]; break;
    case SUM: for (long i = 0; i < size; i++) out[i] = a[i] + b[i]; break;
    case PRODUCT: for (long i = 0; i < size; i++) out[i] = a[i] * b[i]; break;
    default: for (long i = 0; i < size; i++) out[i] = c[i] + a[i] * (b[i] - c[i]);
    }
}

/* What input number `which` of an elementwise node gets of its gradient g; added to `to`. */
static void back(int operation, int which, const float *const *in, const float *out, const float *g, float *to, long size) {
    const float *a = in[0], *b = in[1], *c = in[2];
    switch (operation) {
    case TANH: for (long i = 0; i < size; i++) to[i] += g[i] * (1.0f - out[i] * out[i]); break;
    case SIGMOID: for (long i = 0; i < size; i++) to[i] += g[i] * out[i] * (1.0f - out[i]); break;
    case LEAKY: for (long i = 0; i < size; i++) to[i] += g[i] * (a[i] > 0 ? 1.0f : SLOPE); break;
    case SUM: for (long i = 0; i < size; i++) to[i] += g[i]; break;
    case PRODUCT: { const float *o = which ? a : b; for (long i = 0; i < size; i++) to[i] += g[i] * o[i]; break; }
    default:
        if (which == 0) for (long i = 0; i < size; i++) to[i] += g[i] * (b[i] - c[i]);
        else if (which == 1) for (long i = 0; i < size; i++) to[i] += g[i] * a[i];
        else for (long i = 0; i < size; i++) to[i] += g[i] * (1.0f - a[i]);
    }
}

static long layer_size(const Plan *p) {
    long n = p->width, size = 0;
    for (int v = 0; v < p->nodes; v++)
        if (p->operation[v] == LINEAR) size += n * n * p->count[v] + n;
    return size;
}

/* The loss of one window; its gradient is added to `gradient` unless that is NULL. `state` (layers, states, batch, width) goes in and
   comes out. Inputs: `tokens`, or `numbers` (rows, inputs) where continuous; targets: `classes`, negative where none is asked, or
   `wanted` (rows, outputs), NaN where none is asked. */
double window(const Plan *p, const float *weights, float *gradient, float *state, const int *tokens, const float *numbers,
              const int *classes, const float *wanted) {
    const int n = p->width, B = p->batch, T = p->steps, N = p->nodes, S = p->states, wide = (p->outputs + 15) / 16 * 16;
    const long row = (long)B * n, all = T * row, slots = all + row, layer = layer_size(p), rows = (long)T * B;
    const float *embedding = weights, *cells = weights + (long)p->inputs * n, *readout = cells + p->layers * layer;
    const float *bias = readout + (long)p->outputs * n;
    float *x = calloc(all * (p->layers + 1), sizeof(float)); /* inputs of every layer and the top's output */
    float *value = malloc(p->layers * N * slots * sizeof(float)), *turned = malloc(layer * sizeof(float));
    float *top = malloc((long)n * wide * sizeof(float)), *logits = malloc(rows * wide * sizeof(float));

    for (long r = 0; r < rows; r++)
        if (!p->continuous) memcpy(x + r * n, embedding + (long)tokens[r] * n, n * sizeof(float));
    if (p->continuous) multiply(rows, n, p->inputs, numbers, p->inputs, 1, embedding, n, x, n);
    for (int d = 0; d < p->layers; d++) {
        const float *own = cells + d * layer, *below = x + d * all;
        float *values = value + d * N * slots;
        long at = 0;
        for (int v = 0; v < N; v++) {
            if (p->operation[v] != LINEAR) continue;
            for (int i = 0; i < p->count[v]; i++) transpose(n, n, own + at + (long)i * n * n, turned + at + (long)i * n * n, n);
            const float *offset = own + at + (long)p->count[v] * n * n;
            float *out = values + v * slots + row;
            for (long r = 0; r < rows; r++) memcpy(out + r * n, offset, n * sizeof(float));
            for (int i = 0; i < p->count[v]; i++)
                if (p->reads[v * MOST_INPUTS + i] == INPUT) multiply(rows, n, n, below, n, 1, turned + at + (long)i * n * n, n, out, n);
            at += (long)p->count[v] * n * n + n;
        }
        for (int s = 0; s < S; s++) memcpy(values + p->new_states[s] * slots, state + (d * S + s) * row, row * sizeof(float));
        for (int t = 0; t < T; t++) {
            at = 0;
            for (int v = 0; v < N; v++) {
                const float *in[MOST_INPUTS] = {0};
                for (int i = 0; i < p->count[v]; i++) {
                    int from = p->reads[v * MOST_INPUTS + i];
                    in[i] = from >= OLD ? values + p->new_states[from - OLD] * slots + t * row
                          : from == INPUT ? below + t * row : values + from * slots + (t + 1) * row;
                }
                float *out = values + v * slots + (t + 1) * row;
                if (p->operation[v] == LINEAR) {
                    for (int i = 0; i < p->count[v]; i++)
                        if (p->reads[v * MOST_INPUTS + i] != INPUT) multiply(B, n, n, in[i], n, 1, turned + at + (long)i * n * n, n, out, n);
                    at += (long)p->count[v] * n * n + n;
                } else apply(p->operation[v], in, out, row);
            }
        }
        memcpy(x + (d + 1) * all, values + p->new_states[0] * slots + row, all * sizeof(float));
        for (int s = 0; s < S; s++) memcpy(state + (d * S + s) * row, values + p->new_states[s] * slots + T * row, row * sizeof(float));
    }

    const float *seen = x + p->layers * all;
    memset(top, 0, (long)n * wide * sizeof(float));
    transpose(p->outputs, n, readout, top, wide);
    for (long r = 0; r < rows; r++)
        for (int o = 0; o < wide; o++) logits[r * wide + o] = o < p->outputs ? bias[o] : 0.0f;
    multiply(rows, wide, n, seen, n, 1, top, wide, logits, wide);
    long asked = 0;
    for (long r = 0; r < rows; r++) asked += p->squares ? !isnan(wanted[r * p->outputs]) : classes[r] >= 0;
    double loss = 0.0;
    for (long r = 0; r < rows; r++) { /* logits become their own gradient */
        float *own = logits + r * wide;
        if (p->squares ? isnan(wanted[r * p->outputs]) : classes[r] < 0) { memset(own, 0, wide * sizeof(float)); continue; }
        if (p->squares) {
            for (int o = 0; o < p->outputs; o++) {
                float miss = own[o] - wanted[r * p->outputs + o];
                loss += (double)miss * miss / p->outputs;
                own[o] = 2.0f * miss / (asked * p->outputs);
            }
        } else {
            float most = own[0], sum = 0.0f;
            for (int o = 1; o < p->outputs; o++) most = own[o] > most ? own[o] : most;
            loss += (double)most - own[classes[r]];
            for (int o = 0; o < p->outputs; o++) own[o] = exponential(own[o] - most);
            for (int o = 0; o < p->outputs; o++) sum += own[o];
            loss += log(sum);
            for (int o = 0; o < p->outputs; o++) own[o] /= sum * asked;
            own[classes[r]] -= 1.0f / asked;
        }
        for (int o = p->outputs; o < wide; o++) own[o] = 0.0f;
    }

    if (gradient) {
        float *g_cells = gradient + (long)p->inputs * n, *g_readout = g_cells + p->layers * layer, *g_bias = g_readout + (long)p->outputs * n;
        float *up = calloc(all, sizeof(float)), *slope = malloc(N * all * sizeof(float));
        multiply(p->outputs, n, rows, logits, 1, wide, seen, n, g_readout, n);
        for (long r = 0; r < rows; r++)
            for (int o = 0; o < p->outputs; o++) g_bias[o] += logits[r * wide + o];
        multiply(rows, n, p->outputs, logits, wide, 1, readout, n, up, n);
        for (int d = p->layers - 1; d >= 0; d--) {
            const float *own = cells + d * layer, *below = x + d * all;
            float *values = value + d * N * slots, *g_own = g_cells + d * layer;
            memset(slope, 0, N * all * sizeof(float));
            memcpy(slope + p->new_states[0] * all, up, all * sizeof(float));
            memset(up, 0, all * sizeof(float));
            for (int t = T - 1; t >= 0; t--) {
                long at = layer;
                for (int v = N - 1; v >= 0; v--) {
                    const float *in[MOST_INPUTS] = {0}, *g = slope + v * all + t * row;
                    float *to[MOST_INPUTS] = {0};
                    if (p->operation[v] == LINEAR) at -= (long)p->count[v] * n * n + n;
                    for (int i = 0; i < p->count[v]; i++) {
                        int from = p->reads[v * MOST_INPUTS + i];
                        if (from >= OLD) {
                            in[i] = values + p->new_states[from - OLD] * slots + t * row;
                            to[i] = t ? slope + p->new_states[from - OLD] * all + (t - 1) * row : NULL;
                        } else if (from == INPUT) {
                            in[i] = below + t * row;
                            to[i] = p->operation[v] == LINEAR ? NULL : up + t * row; /* linear ones of all times at once, below */
                        } else {
                            in[i] = values + from * slots + (t + 1) * row;
                            to[i] = slope + from * all + t * row;
                        }
                    }
                    for (int i = 0; i < p->count[v]; i++) {
                        if (!to[i]) continue;
                        if (p->operation[v] == LINEAR) multiply(B, n, n, g, n, 1, own + at + (long)i * n * n, n, to[i], n);
                        else back(p->operation[v], i, in, values + v * slots + (t + 1) * row, g, to[i], row);
                    }
                }
            }
            long at = 0;
            for (int v = 0; v < N; v++) {
                if (p->operation[v] != LINEAR) continue;
                const float *g = slope + v * all;
                for (int i = 0; i < p->count[v]; i++, at += (long)n * n) {
                    int from = p->reads[v * MOST_INPUTS + i];
                    const float *in = from >= OLD ? values + p->new_states[from - OLD] * slots : from == INPUT ? below : values + from * slots + row;
                    multiply(n, n, rows, g, 1, n, in, n, g_own + at, n);
                    if (from == INPUT) multiply(rows, n, n, g, n, 1, own + at, n, up, n);
                }
                for (long r = 0; r < rows; r++)
                    for (int o = 0; o < n; o++) g_own[at + o] += g[r * n + o];
                at += n;
            }
        }
        if (p->continuous) multiply(p->inputs, n, rows, numbers, 1, p->inputs, up, n, gradient, n);
        else
            for (long r = 0; r < rows; r++)
                for (int o = 0; o < n; o++) gradient[(long)tokens[r] * n + o] += up[r * n + o];
        free(up);
        free(slope);
    }
    free(x); free(value); free(turned); free(top); free(logits);
    return loss / (asked ? asked : 1);
}

/* One step of Adam, the gradient scaled down to the norm `clip` where it is longer; returns that norm. The gradient becomes zero. */
double adam(long size, float *weights, float *gradient, float *mean, float *square, int step, float rate, float clip) {
    double norm = 0.0;
    for (long i = 0; i < size; i++) norm += (double)gradient[i] * gradient[i];
    norm = sqrt(norm);
    const float scale = norm > clip ? (float)(clip / norm) : 1.0f;
    const float first = 1.0f - powf(0.9f, step), second = 1.0f - powf(0.999f, step);
    for (long i = 0; i < size; i++) {
        float g = gradient[i] * scale;
        mean[i] = 0.9f * mean[i] + 0.1f * g;
        square[i] = 0.999f * square[i] + 0.001f * g * g;
        weights[i] -= rate * (mean[i] / first) / (sqrtf(square[i] / second) + 1e-8f);
        gradient[i] = 0.0f;
    }
    return norm;
}
