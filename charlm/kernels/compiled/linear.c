/* Linear layers over all time steps; runtime.c comes before. Chunks of rows stay in the cache. */
#define CHUNK 128

/* x (N, columns) -> out (N, rows) = x w' + bias; w (rows, columns). */
void linear(long N, int rows, int columns, const real *x, const real *w, const real *bias,
            real *out, real *workspace) {
  pack(rows, columns, w, columns, 1, workspace);
  for (long n = 0; n < N; n += CHUNK) {
    const long many = N - n < CHUNK ? N - n : CHUNK;
    if (bias)
      for (long k = n; k < n + many; k++)
        memcpy(out + k * rows, bias, rows * sizeof(real));
    times(many, rows, columns, workspace, x + n * columns, columns, bias != 0, out + n * rows, rows);
  }
}
/* d (N, rows), a row every d_stride -> out (N, columns) = d w. */
void linear_back(long N, int rows, int columns, const real *d, long d_stride, const real *w,
                 real *out, real *workspace) {
  pack(columns, rows, w, 1, columns, workspace);
  for (long n = 0; n < N; n += CHUNK)
    times(N - n < CHUNK ? N - n : CHUNK, columns, rows, workspace, d + n * d_stride, d_stride, 0,
          out + n * columns, columns);
}
