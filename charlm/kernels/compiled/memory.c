/* What every matrix memory uses: keys and values are filled up with zeros, so that loops have no rest. */
#define MATRIX (KEYS_FILLED * VALUES_FILLED + 144)

static real *aligned(real *at) { return (real *)(((uintptr_t)at + 63) / 64 * 64); }

static void unpack_matrix(const real *from, real *to) {
  memset(to, 0, MATRIX * sizeof(real));
  for (int i = 0; i < KEYS; i++)
    memcpy(to + i * VALUES_FILLED, from + i * VALUES, VALUES * sizeof(real));
}
static void pack_matrix(const real *from, real *to) {
  for (int i = 0; i < KEYS; i++)
    memcpy(to + i * VALUES, from + i * VALUES_FILLED, VALUES * sizeof(real));
}
/* Backwards a row is one of values. */
static void unpack_values(const real *from, real *to) {
  memset(to, 0, MATRIX * sizeof(real));
  for (int i = 0; i < KEYS; i++)
    for (int j = 0; j < VALUES; j++)
      to[j * KEYS_FILLED + i] = from[i * VALUES + j];
}
static void pack_values(const real *from, real *to) {
  for (int i = 0; i < KEYS; i++)
    for (int j = 0; j < VALUES; j++)
      to[i * VALUES + j] = from[j * KEYS_FILLED + i];
}
static real total(const real *keys) {
  real sum = 0;
  #pragma omp simd reduction(+:sum)
  for (int i = 0; i < KEYS_FILLED; i++)
    sum += keys[i];
  return sum;
}
INLINE real dot(const int size, const real *x, const real *y) {
  real sum = 0;
  #pragma omp simd reduction(+:sum)
  for (int i = 0; i < size; i++)
    sum += x[i] * y[i];
  return sum;
}
static real dot_keys(const real *x, const real *y) { return dot(KEYS_FILLED, x, y); }
static real dot_values(const real *x, const real *y) { return dot(VALUES_FILLED, x, y); }
static void add_scaled(real *to, real by, const real *values) {
  #pragma omp simd
  for (int j = 0; j < VALUES_FILLED; j++)
    to[j] += by * values[j];
}
static void add_scaled_keys(real *to, real by, const real *keys) {
  #pragma omp simd
  for (int i = 0; i < KEYS_FILLED; i++)
    to[i] += by * keys[i];
}
