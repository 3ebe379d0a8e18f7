/* What every matrix memory uses: its rows are filled up with zeros, so that loops have no rest. */
#define MATRIX (KEYS_FILLED * VALUES_FILLED)

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
static real total(const real *values) {
  real sum = 0;
  #pragma omp simd reduction(+:sum)
  for (int j = 0; j < VALUES_FILLED; j++)
    sum += values[j];
  return sum;
}
