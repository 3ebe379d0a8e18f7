/* Unrolled S6: s' = a s + (d u) B and y = C s' for NUMBERS numbers s of each unit, where a is
   exp(d A) or 2 exp(d A) - 1, and the output (y + D u) silu(z). A block of units is side by side;
   its states stay in the cache for SEGMENT steps. The state before each segment is kept. */
#define BLOCKS ((H + UNITS - 1) / UNITS)
#define WIDTH_OF_X (3 * H + 2 * NUMBERS)
#define FOR_UNITS _Pragma("omp simd") for (int j = 0; j < UNITS; j++)
typedef real units[UNITS];

/* What a block of units is given: u, z and d, filled up with zeros. */
struct token { units u, z, d; };

static int count_units(long H, long block) {
  return H - block * UNITS < UNITS ? H - block * UNITS : UNITS;
}
static struct token load_token(const real *x, long H, long block) {
  struct token token = {{0}, {0}, {0}};
  const size_t size = count_units(H, block) * sizeof(real);
  x += block * UNITS;
  memcpy(token.u, x, size);
  memcpy(token.z, x + H, size);
  memcpy(token.d, x + 2 * H, size);
  return token;
}
/* (units, NUMBERS) of H units <-> (blocks, NUMBERS, UNITS). */
static void to_blocks(long H, const real *from, real *to) {
  for (long i = 0; i < BLOCKS * UNITS; i++)
    for (int n = 0; n < NUMBERS; n++)
      to[(i / UNITS * NUMBERS + n) * UNITS + i % UNITS] = i < H ? from[i * NUMBERS + n] : 0;
}
static void from_blocks(long H, const real *from, real *to) {
  for (long i = 0; i < H; i++)
    for (int n = 0; n < NUMBERS; n++)
      to[i * NUMBERS + n] = from[(i / UNITS * NUMBERS + n) * UNITS + i % UNITS];
}
static const real *row_of(const real *x, const int64_t *ids, long row, long H) {
  return x + (ids ? ids[row] : row) * WIDTH_OF_X;
}

INLINE void unroll(long T, long B, long H, const int is_signed, const int64_t *ids, const real *x,
                   const real *A, const real *D, const real *first, real *history, real *y, real *h,
                   real *last, real *core) {
  const long size = BLOCKS * NUMBERS * UNITS;
  real *const rates = core, *const states = rates + size;
  to_blocks(H, A, rates);
  for (long b = 0; b < B; b++) {
    to_blocks(H, first + b * H * NUMBERS, states);
    for (long start = 0; start < T; start += SEGMENT) {
      memcpy(history + (start / SEGMENT * B + b) * size, states, size * sizeof(real));
      for (long k = 0; k < BLOCKS; k++) {
        const units *const rate = (const units *)(rates + k * NUMBERS * UNITS);
        units *const s = (units *)(states + k * NUMBERS * UNITS);
        const int count = count_units(H, k);
        units skip = {0};
        memcpy(skip, D + k * UNITS, count * sizeof(real));
        for (long t = start; t < T && t < start + SEGMENT; t++) {
          const real *const in = row_of(x, ids, t * B + b, H);
          const real *const write = in + 3 * H, *const read = write + NUMBERS;
          const struct token own = load_token(in, H, k);
          units sum = {0}, out;
          for (int n = 0; n < NUMBERS; n++)
            FOR_UNITS {
              const real e = EXP(own.d[j] * rate[n][j]), a = is_signed ? 2 * e - 1 : e;
              const real value = a * s[n][j] + own.d[j] * own.u[j] * write[n];
              s[n][j] = value;
              sum[j] += read[n] * value;
            }
          FOR_UNITS out[j] = (sum[j] + skip[j] * own.u[j]) * own.z[j] * SIGMOID(own.z[j]);
          memcpy(y + (t * B + b) * H + k * UNITS, sum, count * sizeof(real));
          memcpy(h + (t * B + b) * H + k * UNITS, out, count * sizeof(real));
        }
      }
    }
    from_blocks(H, states, last + b * H * NUMBERS);
  }
}
void selective_scan(long T, long B, long H, long is_signed, const int64_t *ids, const real *x,
                    const real *A, const real *D, const real *first, real *history, real *y,
                    real *h, real *last, real *core) {
  if (is_signed)
    unroll(T, B, H, 1, ids, x, A, D, first, history, y, h, last, core);
  else
    unroll(T, B, H, 0, ids, x, A, D, first, history, y, h, last, core);
}

/* Gradients: dx and dD are added to, dA is overwritten; state is that of the last state, then of the first. */
INLINE void unroll_back(long T, long B, long H, const int is_signed, const int64_t *ids,
                        const real *x, const real *A, const real *D, const real *history,
                        const real *y, const real *dh, real *state, real *dx, real *dA, real *dD,
                        real *core) {
  const long size = BLOCKS * NUMBERS * UNITS;
  real *const rates = core, *const gradients = rates + size, *const d_rates = gradients + size;
  to_blocks(H, A, rates);
  memset(d_rates, 0, size * sizeof(real));
  for (long b = 0; b < B; b++) {
    to_blocks(H, state + b * H * NUMBERS, gradients);
    for (long start = (T - 1) / SEGMENT * SEGMENT; start >= 0; start -= SEGMENT) {
      const int steps = T - start < SEGMENT ? T - start : SEGMENT;
      units d_write[SEGMENT][NUMBERS], d_read[SEGMENT][NUMBERS];
      memset(d_write, 0, sizeof d_write);
      memset(d_read, 0, sizeof d_read);
      for (long k = 0; k < BLOCKS; k++) {
        const units *const rate = (const units *)(rates + k * NUMBERS * UNITS);
        units *const g = (units *)(gradients + k * NUMBERS * UNITS);
        units *const d_rate = (units *)(d_rates + k * NUMBERS * UNITS);
        const int count = count_units(H, k);
        units s[SEGMENT + 1][NUMBERS], e[SEGMENT][NUMBERS], skip = {0}, d_skip = {0};
        struct token tokens[SEGMENT];
        memcpy(skip, D + k * UNITS, count * sizeof(real));
        memcpy(s[0], history + (start / SEGMENT * B + b) * size + k * NUMBERS * UNITS, sizeof s[0]);
        for (int i = 0; i < steps; i++) {
          const real *const in = row_of(x, ids, (start + i) * B + b, H), *const write = in + 3 * H;
          const struct token own = tokens[i] = load_token(in, H, k);
          for (int n = 0; n < NUMBERS; n++)
            FOR_UNITS {
              const real power = EXP(own.d[j] * rate[n][j]), a = is_signed ? 2 * power - 1 : power;
              e[i][n][j] = power;
              s[i + 1][n][j] = a * s[i][n][j] + own.d[j] * own.u[j] * write[n];
            }
        }
        for (int i = steps - 1; i >= 0; i--) {
          const long row = (start + i) * B + b, at = row * H + k * UNITS;
          const real *const write = row_of(x, ids, row, H) + 3 * H, *const read = write + NUMBERS;
          const struct token own = tokens[i];
          units dy, d_out = {0}, sum = {0}, dz, du, dd = {0}, d_written = {0};
          memcpy(d_out, dh + at, count * sizeof(real));
          memcpy(sum, y + at, count * sizeof(real));
          FOR_UNITS {
            const real gate = SIGMOID(own.z[j]), open = own.z[j] * gate;
            dy[j] = d_out[j] * open;
            dz[j] = d_out[j] * (sum[j] + skip[j] * own.u[j]) * (gate + open * (1 - gate));
            du[j] = dy[j] * skip[j];
            d_skip[j] += dy[j] * own.u[j];
          }
          for (int n = 0; n < NUMBERS; n++)
            FOR_UNITS {
              const real gradient = g[n][j] + read[n] * dy[j], power = e[i][n][j];
              const real a = is_signed ? 2 * power - 1 : power;
              const real d_power = gradient * s[i][n][j] * power * (is_signed ? 2 : 1);
              d_read[i][n][j] += s[i + 1][n][j] * dy[j];
              d_write[i][n][j] += gradient * (own.d[j] * own.u[j]);
              d_written[j] += gradient * write[n];
              dd[j] += d_power * rate[n][j];
              d_rate[n][j] += d_power * own.d[j];
              g[n][j] = gradient * a;
            }
          real *const to = dx + (ids ? ids[row] : row) * WIDTH_OF_X + k * UNITS;
          for (int j = 0; j < count; j++) {
            to[j] += du[j] + d_written[j] * own.d[j];
            to[H + j] += dz[j];
            to[2 * H + j] += dd[j] + d_written[j] * own.u[j];
          }
        }
        for (int j = 0; j < count; j++)
          dD[k * UNITS + j] += d_skip[j];
      }
      for (int i = 0; i < steps; i++) {
        const long row = (start + i) * B + b;
        real *const to = dx + (ids ? ids[row] : row) * WIDTH_OF_X + 3 * H;
        for (int n = 0; n < NUMBERS; n++) {
          real written = 0, was_read = 0;
          for (int j = 0; j < UNITS; j++)
            written += d_write[i][n][j], was_read += d_read[i][n][j];
          to[n] += written;
          to[NUMBERS + n] += was_read;
        }
      }
    }
    from_blocks(H, gradients, state + b * H * NUMBERS);
  }
  from_blocks(H, d_rates, dA);
}
void selective_scan_back(long T, long B, long H, long is_signed, const int64_t *ids, const real *x,
                         const real *A, const real *D, const real *history, const real *y,
                         const real *dh, real *state, real *dx, real *dA, real *dD, real *core) {
  if (is_signed)
    unroll_back(T, B, H, 1, ids, x, A, D, history, y, dh, state, dx, dA, dD, core);
  else
    unroll_back(T, B, H, 0, ids, x, A, D, history, y, dh, state, dx, dA, dD, core);
}
