/* Elementary functions and matrix products that every compiled cell uses. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if REAL == 4
typedef float real;
typedef int32_t whole;
#define FABS fabsf
#define FLOOR floorf
#define SQRT sqrtf
#define COS cosf
#define SIN sinf
#define INLINE static inline __attribute__((always_inline))

/* e^x - 1 = 2^n (e^r - 1) + 2^n - 1, |r| <= ln(2) / 2, where Taylor's series to r^7 is exact to
   5e-9; NaN stays NaN. 2^n is the exponent of a float. */
INLINE float power(float n) {
  int32_t bits = ((int32_t)n + 127) << 23;
  float p;
  memcpy(&p, &bits, 4);
  return p;
}
INLINE float rest(float x, float *p) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float n = floorf(x * 1.44269504088896341f + 0.5f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440054690583e-4f;
  *p = power(n);
  float s = 1.0f / 5040;
  s = s * r + 1.0f / 720;
  s = s * r + 1.0f / 120;
  s = s * r + 1.0f / 24;
  s = s * r + 1.0f / 6;
  s = s * r + 0.5f;
  return s * r * r + r;
}
INLINE float EXP(float x) {
  float p;
  const float e = rest(x, &p);
  return x < -87.0f ? 0.0f : (x > 88.0f ? INFINITY : p * e + p);
}
INLINE float EXPM1(float x) {
  float p;
  const float e = rest(x, &p);
  return x < -87.0f ? -1.0f : (x > 88.0f ? INFINITY : p * e + (p - 1.0f));
}
INLINE float SIGMOID(float x) {
  float p;
  const float e = rest(-x, &p);
  return 1.0f / (p * e + p + 1.0f);
}
INLINE float TANH(float x) {
  float p;
  const float e = rest(x < 20.0f ? 2 * x : (x >= 20.0f ? 40.0f : x), &p);
  const float m = p * e + (p - 1.0f);
  return m / (m + 2.0f);
}
/* x = 2^n m, m in [sqrt(1/2), sqrt(2)): log m = 2 artanh((m - 1) / (m + 1)), a series in s^2. */
INLINE float LOG(float x) {
  int32_t bits;
  memcpy(&bits, &x, 4);
  const int32_t n = (bits - 0x3f3504f3) >> 23;
  bits -= n * (1 << 23);
  float m;
  memcpy(&m, &bits, 4);
  const float s = (m - 1) / (m + 1), q = s * s;
  const float series = 2 * s * (1 + q * (1.0f / 3 + q * (0.2f + q * (1.0f / 7 + q * (1.0f / 9)))));
  const float y = (float)n * 0.693147180559945309f + series;
  return x > 0 ? y : (x == 0 ? -INFINITY : NAN);
}
/* log(1 + e) = 2 artanh(e / (2 + e)), since 1 + e would lose the digits of a small e. */
INLINE float LOGSIGMOID(float x) {
  const float e = EXP(-fabsf(x)), s = e / (2 + e), q = s * s;
  float series = 1.0f / 13;
  series = series * q + 1.0f / 11;
  series = series * q + 1.0f / 9;
  series = series * q + 1.0f / 7;
  series = series * q + 0.2f;
  series = series * q + 1.0f / 3;
  return (x < 0 ? x : (x >= 0 ? 0.0f : x)) - (2 * s * q * series + 2 * s);
}
#elif REAL == 8
typedef double real;
#define FABS fabs
#define FLOOR floor
#define SQRT sqrt
#define COS cos
#define SIN sin
#define EXP exp
#define EXPM1 expm1
#define LOG log
#define TANH tanh
#define INLINE static inline __attribute__((always_inline))
INLINE double SIGMOID(double x) { return 1 / (1 + exp(-x)); }
INLINE double LOGSIGMOID(double x) { return (x < 0 ? x : 0) - log1p(exp(-fabs(x))); }
#else
#error "numbers of 4 or 8 bytes"
#endif

/* A matrix times many vectors. The matrix is packed once for all of time, into panels of as many
   outputs as a few registers hold; a tile of the result then stays in registers while a panel and
   some rows of the input pass by. Wider vectors than this processor has would not fit. */
#define WIDE 3
#if defined(__AVX512F__)
#define BYTES 64
#define ROWS 8
#elif defined(__AVX__)
#define BYTES 32
#define ROWS 4
#else
#define BYTES 16
#define ROWS 4
#endif
/* Load a vector once for all rows: GCC would load it again for each, and there are too few ports. */
#if defined(__AVX__)
#define KEEP(w) __asm__("" : "+x"(w))
#else
#define KEEP(w)
#endif
#define LANES (BYTES / (int)sizeof(real))
#define PANEL (LANES * WIDE)
/* The width of a panel: the last one has only as many vectors as it needs. */
#define WIDTH(left) ((left) < PANEL ? ((left) + LANES - 1) / LANES * LANES : PANEL)
typedef real vector __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

/* w[output * out_step + input * in_step] -> panels, each (inputs, width), the last filled up. */
static real *pack(int outputs, int inputs, const real *w, long out_step, long in_step, real *to) {
  for (int p = 0; p < outputs; p += PANEL)
    for (int i = 0; i < inputs; i++)
      for (int j = p; j < p + WIDTH(outputs - p); j++)
        *to++ = j < outputs ? w[j * out_step + i * in_step] : 0;
  return to;
}
/* The number of rows and vectors is known where this is inlined. The sums are only ever read as
   whole vectors: taking their address would keep them in memory. */
INLINE void tile(const int rows, const int wide, int inputs, const real *in, long in_stride,
                 const real *panel, int add, real *out, long out_stride, int left) {
  vector sum[ROWS][WIDE];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < wide; v++)
      sum[r][v] = (vector){0};
  for (int i = 0; i < inputs; i++, panel += wide * LANES) {
    vector w[WIDE];
    for (int v = 0; v < wide; v++) {
      w[v] = *(const vector *)(panel + v * LANES);
      KEEP(w[v]);
    }
    for (int r = 0; r < rows; r++)
      for (int v = 0; v < wide; v++)
        sum[r][v] += in[r * in_stride + i] * w[v];
  }
  for (int r = 0; r < rows; r++, out += out_stride)
    for (int v = 0; v < wide; v++) {
      real *const to = out + v * LANES;
      const vector found = sum[r][v];
      if (left < (v + 1) * LANES)
        for (int j = 0; j < left - v * LANES; j++)
          to[j] = add ? to[j] + found[j] : found[j];
      else if (add)
        *(vector *)to += found;
      else
        *(vector *)to = found;
    }
}
INLINE void rows_of_tiles(const int wide, long B, int inputs, const real *packed, const real *in,
                          long in_stride, int add, real *out, long out_stride, int left) {
  long b = 0;
#define TILE(rows) \
  tile(rows, wide, inputs, in + b * in_stride, in_stride, packed, add, out + b * out_stride, \
       out_stride, left)
  for (; b + ROWS <= B; b += ROWS)
    TILE(ROWS);
  switch (B - b) {
#define REST(rows) \
  case rows: \
    TILE(rows < ROWS ? rows : 1); \
    break;
    REST(1) REST(2) REST(3) REST(4) REST(5) REST(6) REST(7)
  }
}
/* in (B, inputs) -> out (B, outputs), set or added to. */
static void times(long B, int outputs, int inputs, const real *packed, const real *in,
                  long in_stride, int add, real *out, long out_stride) {
  for (int p = 0; p < outputs; p += PANEL, packed += (long)inputs * PANEL, out += PANEL) {
    const int left = outputs - p;
#define WITH(wide) \
  rows_of_tiles(wide, B, inputs, packed, in, in_stride, add, out, out_stride, left)
    if (left > 2 * LANES)
      WITH(3);
    else if (left > LANES)
      WITH(2);
    else
      WITH(1);
  }
}

/* A matrix times one vector is as fast as its numbers arrive from memory: four rows at a time keep
   up, if the processor is told early enough which lines of the cache come next. */
#define LINE (64 / (int)sizeof(real))
#define ROWS_AHEAD 8
static void times_one(int outputs, int inputs, const real *w, const real *in, int add, real *out) {
  const int lines = inputs / LINE * LINE;
  for (int i = 0; i < outputs; i += 4) {
    const int rows = outputs - i < 4 ? outputs - i : 4;
    const real *row[4];
    for (int r = 0; r < 4; r++)
      row[r] = w + (long)(i + (r < rows ? r : 0)) * inputs;
    vector sum[4] = {{0}, {0}, {0}, {0}};
    for (int j = 0; j < lines; j += LINE) {
      for (int r = 0; r < 4; r++)
        __builtin_prefetch(row[r] + j + ROWS_AHEAD * inputs);
      for (int l = j; l < j + LINE; l += LANES) {
        const vector x = *(const vector *)(in + l);
        for (int r = 0; r < 4; r++)
          sum[r] += *(const vector *)(row[r] + l) * x;
      }
    }
    for (int r = 0; r < rows; r++) {
      real total = 0;
      for (int k = 0; k < LANES; k++)
        total += sum[r][k];
      for (int j = lines; j < inputs; j++)
        total += row[r][j] * in[j];
      out[i + r] = add ? out[i + r] + total : total;
    }
  }
}
static void back_times_one(int rows, int columns, const real *w, const real *in, int add,
                           real *out) {
  if (!add)
    memset(out, 0, columns * sizeof(real));
  for (int i = 0; i < rows; i++)
    #pragma omp simd
    for (int j = 0; j < columns; j++)
      out[j] += in[i] * w[(long)i * columns + j];
}

/* The products of a step, w (rows, columns): forward: out = in w', backward: out = in w. */
static real *pack_product(long B, int rows, int columns, const real *w, real *to) {
  return B == 1 ? to : pack(rows, columns, w, columns, 1, to);
}
static real *pack_back_product(long B, int rows, int columns, const real *w, real *to) {
  return B == 1 ? to : pack(columns, rows, w, 1, columns, to);
}
static void product(long B, int rows, int columns, const real *w, const real *packed,
                    const real *in, long in_stride, int add, real *out, long out_stride) {
  if (B == 1)
    times_one(rows, columns, w, in, add, out);
  else
    times(B, rows, columns, packed, in, in_stride, add, out, out_stride);
}
static void back_product(long B, int rows, int columns, const real *w, const real *packed,
                         const real *in, long in_stride, int add, real *out, long out_stride) {
  if (B == 1)
    back_times_one(rows, columns, w, in, add, out);
  else
    times(B, columns, rows, packed, in, in_stride, add, out, out_stride);
}
/* w (parts, heads, share, share): each head reads its own share of the input. */
#define FILLED(share) ((((long)(share) + LANES - 1) / LANES) * LANES * (share))
INLINE real *pack_block_product(long B, int parts, int heads, int share, const real *w, real *to) {
  for (int i = 0; i < parts * heads; i++)
    to = pack_product(B, share, share, w + (long)i * share * share, to);
  return to;
}
INLINE real *pack_back_block_product(long B, int parts, int heads, int share, const real *w,
                                     real *to) {
  for (int i = 0; i < parts * heads; i++)
    to = pack_back_product(B, share, share, w + (long)i * share * share, to);
  return to;
}
INLINE void block_product(long B, int parts, int heads, int share, const real *w,
                          const real *packed, const real *in, long in_stride, int add, real *out,
                          long out_stride) {
  for (int i = 0; i < parts * heads; i++)
    product(B, share, share, w + (long)i * share * share, packed + i * FILLED(share),
            in + (i % heads) * share, in_stride, add, out + i * share, out_stride);
}
INLINE void back_block_product(long B, int parts, int heads, int share, const real *w,
                               const real *packed, const real *in, long in_stride, int add,
                               real *out, long out_stride) {
  for (int i = 0; i < parts * heads; i++)
    back_product(B, share, share, w + (long)i * share * share, packed + i * FILLED(share),
                 in + i * share, in_stride, add || i >= heads, out + (i % heads) * share,
                 out_stride);
}
