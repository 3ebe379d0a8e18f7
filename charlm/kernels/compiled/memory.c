/* What every matrix memory uses. A segment of steps is computed at once, from the matrix before it:
   memory_c.py has the equations. Rows of keys and values are filled up, so that loops have no rest. */
#define FILL(size) (((size) + LANES - 1) / LANES * LANES)
#define KEYS_FILLED FILL(KEYS)
#define VALUES_FILLED FILL(VALUES)
#define MATRIX (KEYS * VALUES_FILLED)
#define ROWS_OF(count) (SEGMENT * (count) + !(count)) /* at least 1: C has no empty arrays */
#define WRITE_LANES FILL(ROWS_OF(WRITES))
#define READ_LANES FILL(ROWS_OF(READS))
typedef real keys_row[KEYS_FILLED];
typedef real values_row[VALUES_FILLED];

/* One head of one stream, over a segment: the row t * WRITES + i is of write i in step t. */
struct segment {
  keys_row k[ROWS_OF(WRITES)], q[ROWS_OF(READS)];
  values_row u[ROWS_OF(WRITES)], r[ROWS_OF(READS)]; /* what is written and read */
  real score[ROWS_OF(READS)][WRITE_LANES];       /* of a read and an earlier write: (decayed k) . q */
  keys_row retained;                          /* share of each row of the matrix before it */
#if HAS_DECAY
  keys_row a[SEGMENT], product[SEGMENT];               /* decays, and their products until then */
  keys_row decayed_k[ROWS_OF(WRITES)], decayed_q[ROWS_OF(READS)]; /* to the end; from the start */
#else
  real keys_by_write[KEYS][WRITE_LANES];
#define decayed_k k
#define decayed_q q
#endif
};
/* Gradients of a segment. */
struct gradients {
  keys_row k[ROWS_OF(WRITES)], q[ROWS_OF(READS)];
  values_row u[ROWS_OF(WRITES)], r[ROWS_OF(READS)];
  real score[ROWS_OF(READS)][WRITE_LANES];
  real values_by_write[VALUES][WRITE_LANES], values_by_read[VALUES][READ_LANES];
  real keys_by_write[KEYS][WRITE_LANES], keys_by_read[KEYS][READ_LANES];
  keys_row a[SEGMENT];
};

_Static_assert(sizeof(struct segment) + sizeof(struct gradients) <= SEGMENT_SIZE * sizeof(real),
               "the scratch memory holds a segment");

static real *aligned(real *at) { return (real *)(((uintptr_t)at + 63) / 64 * 64); }

/* Not memcpy: GCC 12 takes 16 bytes of memcpy in a loop for one number, and reads it as if it were
   aligned to 16. */
INLINE void copy(const int size, real *to, const real *from) {
  #pragma omp simd
  for (int i = 0; i < size; i++)
    to[i] = from[i];
}
static void unpack_matrix(const real *from, real *to) {
  for (int i = 0; i < KEYS; i++)
    copy(VALUES, to + i * VALUES_FILLED, from + i * VALUES);
}
static void pack_matrix(const real *from, real *to) {
  for (int i = 0; i < KEYS; i++)
    copy(VALUES, to + i * VALUES, from + i * VALUES_FILLED);
}
static real total(const real *keys) {
  real sum = 0;
  #pragma omp simd reduction(+:sum)
  for (int i = 0; i < KEYS; i++)
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
INLINE void add_scaled(const int size, real *to, real by, const real *from) {
  #pragma omp simd
  for (int j = 0; j < size; j++)
    to[j] += by * from[j];
}
INLINE void add_product(real *to, const real *x, const real *y) {
  #pragma omp simd
  for (int i = 0; i < KEYS_FILLED; i++)
    to[i] += x[i] * y[i];
}
INLINE void scale(real *to, const real *by) {
  #pragma omp simd
  for (int i = 0; i < KEYS_FILLED; i++)
    to[i] *= by[i];
}

/* out = a b, or, with `keep`, keep out + a b, where keep has a number for each row. The tile of out
   stays in registers; it has fewer vectors, the more rows it has. */
INLINE void multiply_tile(const int rows, const int wide, int inner, const real *a, long a_row,
                          long a_step, const real *b, long b_step, const real *keep, real *out,
                          long out_row) {
  vector sum[8][WIDE];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < wide; v++)
      if (keep)
        sum[r][v] = keep[r] * *(const vector *)(out + r * out_row + v * LANES);
      else
        sum[r][v] = (vector){0};
  for (int i = 0; i < inner; i++, a += a_step, b += b_step) {
    vector w[WIDE];
    for (int v = 0; v < wide; v++) {
      w[v] = *(const vector *)(b + v * LANES);
      KEEP(w[v]);
    }
    for (int r = 0; r < rows; r++)
      for (int v = 0; v < wide; v++)
        sum[r][v] += a[r * a_row] * w[v];
  }
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < wide; v++)
      *(vector *)(out + r * out_row + v * LANES) = sum[r][v];
}
INLINE void multiply_columns(const int most, const int wide, int rows, int inner, const real *a,
                             long a_row, long a_step, const real *b, long b_step, const real *keep,
                             real *out, long out_row) {
  int at = 0;
#define SOME(count) \
  for (; at + count <= rows; at += count) \
  multiply_tile(count, wide, inner, a + at * a_row, a_row, a_step, b, b_step, \
                keep ? keep + at : 0, out + at * out_row, out_row)
  SOME(most);
  SOME(4);
  SOME(2);
  SOME(1);
}
static void multiply(int rows, int inner, int columns, const real *a, long a_row, long a_step,
                     const real *b, long b_step, const real *keep, real *out, long out_row) {
#define COLUMNS(most, wide) \
  multiply_columns(most, wide, rows, inner, a, a_row, a_step, b, b_step, keep, out, out_row); \
  columns -= wide * LANES, b += wide * LANES, out += wide * LANES
  while (columns > 0) {
    const int vectors = columns / LANES;
    if (vectors == 1) {
      COLUMNS(8, 1);
    } else if (vectors == 2 || vectors == 4) {
      COLUMNS(6, 2);
    } else {
      COLUMNS(4, 3);
    }
  }
}
/* A block of vectors is transposed by exchanging halves of pairs of rows, then quarters, and so on. */
INLINE void transpose_block(vector *rows) {
#if REAL == 4 && BYTES == 32 && !defined(__clang__) /* which has no __builtin_shuffle */
  typedef int32_t places __attribute__((vector_size(BYTES)));
  const places low[3] = {{0, 1, 2, 3, 8, 9, 10, 11}, {0, 1, 8, 9, 4, 5, 12, 13},
                         {0, 8, 2, 10, 4, 12, 6, 14}};
  const places high[3] = {{4, 5, 6, 7, 12, 13, 14, 15}, {2, 3, 10, 11, 6, 7, 14, 15},
                          {1, 9, 3, 11, 5, 13, 7, 15}};
  for (int level = 0, apart = 4; level < 3; level++, apart /= 2)
    for (int i = 0; i < 8; i++)
      if (!(i & apart)) {
        const vector first = rows[i], second = rows[i + apart];
        rows[i] = __builtin_shuffle(first, second, low[level]);
        rows[i + apart] = __builtin_shuffle(first, second, high[level]);
      }
#else
  vector transposed[LANES];
  for (int i = 0; i < LANES; i++)
    for (int j = 0; j < LANES; j++)
      transposed[j][i] = rows[i][j];
  memcpy(rows, transposed, sizeof transposed);
#endif
}
/* to[j][i] = from[i][j]; both have rows of whole vectors. */
INLINE void transpose(int rows, int columns, const real *from, long from_row, real *to,
                      long to_row) {
  for (int i = 0; i < rows; i += LANES)
    for (int j = 0; j < columns; j += LANES) {
      vector block[LANES];
      for (int r = 0; r < LANES; r++)
        block[r] = *(const vector *)(from + (i + r < rows ? i + r : i) * from_row + j);
      transpose_block(block);
      for (int r = 0; r < LANES && j + r < columns; r++)
        *(vector *)(to + (j + r) * to_row + i) = block[r];
    }
}

/* Whether write i of step s comes before read n of step t. */
INLINE int is_earlier(int s, int i, int t, int n) {
  return s < t || (s == t && i < writes_before[n]);
}

/* Products of decays, and the keys and queries that meet the matrix before the segment. */
static void prepare(struct segment *own, int steps) {
#if HAS_DECAY
  copy(KEYS_FILLED, own->product[0], own->a[0]);
  for (int t = 1; t < steps; t++)
    for (int i = 0; i < KEYS_FILLED; i++)
      own->product[t][i] = own->product[t - 1][i] * own->a[t][i];
  copy(KEYS_FILLED, own->retained, own->product[steps - 1]);
  for (int t = 0; t < steps; t++)
    for (int n = 0; n < READS; n++) {
      const int e = t * READS + n;
      copy(KEYS_FILLED, own->decayed_q[e], own->q[e]);
      if (is_decayed[n] || t)
        scale(own->decayed_q[e], own->product[is_decayed[n] ? t : t - 1]);
    }
  keys_row later;
  for (int i = 0; i < KEYS_FILLED; i++)
    later[i] = 1;
  for (int t = steps - 1; t >= 0; t--) {
    for (int w = t * WRITES; w < (t + 1) * WRITES; w++) {
      copy(KEYS_FILLED, own->decayed_k[w], own->k[w]);
      scale(own->decayed_k[w], later);
    }
    scale(later, own->a[t]);
  }
  for (int s = 0; s < steps; s++)
    for (int i = 0; i < WRITES; i++) {
      const int w = s * WRITES + i;
      keys_row k;
      copy(KEYS_FILLED, k, own->k[w]);
      for (int t = s; t < steps; t++) {
        for (int after = 0; after < 2; after++) {
          if (after && t > s)
            scale(k, own->a[t]);
          for (int n = 0; n < READS; n++)
            if (is_decayed[n] == after && is_earlier(s, i, t, n))
              own->score[t * READS + n][w] = dot(KEYS_FILLED, k, own->q[t * READS + n]);
        }
      }
    }
#else
  for (int i = 0; i < KEYS; i++)
    own->retained[i] = 1;
  transpose(steps * WRITES, KEYS, own->k[0], KEYS_FILLED, own->keys_by_write[0], WRITE_LANES);
  multiply(steps * READS, KEYS, WRITE_LANES, own->q[0], KEYS_FILLED, 1, own->keys_by_write[0],
           WRITE_LANES, 0, own->score[0], WRITE_LANES);
#endif
}
/* Add to a read what the segment has written before it. */
static void read_writes(struct segment *own, int t, int n) {
  for (int s = 0; s <= t; s++)
    for (int i = 0; i < WRITES; i++)
      if (is_earlier(s, i, t, n))
        add_scaled(VALUES_FILLED, own->r[t * READS + n], own->score[t * READS + n][s * WRITES + i],
                   own->u[s * WRITES + i]);
}
/* The matrix after the segment: what is left of it, and all writes. */
static void advance_matrix(const struct segment *own, int steps, real *M) {
  multiply(KEYS, steps * WRITES, VALUES_FILLED, own->decayed_k[0], 1, KEYS_FILLED, own->u[0],
           VALUES_FILLED, own->retained, M, VALUES_FILLED);
}

/* Add to the gradient of what is written that of all later reads. */
static void reads_back(const struct segment *own, struct gradients *d, int steps, int s, int i) {
  for (int t = s; t < steps; t++)
    for (int n = 0; n < READS; n++)
      if (is_earlier(s, i, t, n))
        add_scaled(VALUES_FILLED, d->u[s * WRITES + i], own->score[t * READS + n][s * WRITES + i],
                   d->r[t * READS + n]);
}
/* The gradients of keys, queries and decays, from those of what is written and read. */
static void keys_back(const struct segment *own, struct gradients *d, int steps, const real *M,
                      const real *G) {
  if (WRITES) {
    transpose(steps * WRITES, VALUES, own->u[0], VALUES_FILLED, d->values_by_write[0], WRITE_LANES);
    multiply(KEYS, VALUES, WRITE_LANES, G, VALUES_FILLED, 1, d->values_by_write[0], WRITE_LANES, 0,
             d->keys_by_write[0], WRITE_LANES);
    multiply(steps * READS, VALUES, WRITE_LANES, d->r[0], VALUES_FILLED, 1,
             d->values_by_write[0], WRITE_LANES, 0, d->score[0], WRITE_LANES);
    transpose(KEYS, steps * WRITES, d->keys_by_write[0], WRITE_LANES, d->k[0], KEYS_FILLED);
  }
  transpose(steps * READS, VALUES, d->r[0], VALUES_FILLED, d->values_by_read[0], READ_LANES);
  multiply(KEYS, VALUES, READ_LANES, M, VALUES_FILLED, 1, d->values_by_read[0], READ_LANES, 0,
           d->keys_by_read[0], READ_LANES);
  transpose(KEYS, steps * READS, d->keys_by_read[0], READ_LANES, d->q[0], KEYS_FILLED);
#if HAS_DECAY
#if NEEDS_DECAY
  keys_row d_retained = {0}; /* gradient of what is left of the first matrix */
  for (int i = 0; i < KEYS; i++)
    d_retained[i] = dot(VALUES, M + i * VALUES_FILLED, G + i * VALUES_FILLED);
  memset(d->a, 0, sizeof d->a);
  for (int t = steps - 1; t >= 0; t--)
    for (int after = 1; after >= 0; after--) {
      for (int n = 0; n < READS; n++)
        if (is_decayed[n] == after)
          add_product(d_retained, own->q[t * READS + n], d->q[t * READS + n]);
      if (after && t)
        add_product(d->a[t], d_retained, own->product[t - 1]);
      else if (after)
        copy(KEYS_FILLED, d->a[0], d_retained);
      if (after)
        scale(d_retained, own->a[t]);
    }
#endif
  for (int t = 0; t < steps; t++)
    for (int n = 0; n < READS; n++)
      if (is_decayed[n] || t)
        scale(d->q[t * READS + n], own->product[is_decayed[n] ? t : t - 1]);
  for (int s = 0; s < steps; s++)
    for (int i = 0; i < WRITES; i++) {
      const int w = s * WRITES + i;
      keys_row k[SEGMENT]; /* what is left of it after each step */
      copy(KEYS_FILLED, k[s], own->k[w]);
      for (int t = s + 1; t < steps; t++)
        for (int j = 0; j < KEYS_FILLED; j++)
          k[t][j] = k[t - 1][j] * own->a[t][j];
      for (int t = steps - 1; t >= s; t--)
        for (int after = 1; after >= 0; after--) {
          const int before = t > s && !after ? t - 1 : t;
          for (int n = 0; n < READS; n++)
            if (is_decayed[n] == after && is_earlier(s, i, t, n)) {
              const int e = t * READS + n;
              add_scaled(KEYS_FILLED, d->k[w], d->score[e][w], own->q[e]);
              add_scaled(KEYS_FILLED, d->q[e], d->score[e][w], k[before]);
            }
          if (after && t > s) {
#if NEEDS_DECAY
            add_product(d->a[t], d->k[w], k[t - 1]);
#endif
            scale(d->k[w], own->a[t]);
          }
        }
    }
#elif WRITES
  for (int t = 0; t < steps; t++)
    for (int n = 0; n < READS; n++)
      for (int s = 0; s < steps; s++)
        for (int i = 0; i < WRITES; i++)
          if (!is_earlier(s, i, t, n))
            d->score[t * READS + n][s * WRITES + i] = 0;
  real ones[ROWS_OF(READS) + ROWS_OF(WRITES)];
  for (int e = 0; e < steps * (READS + WRITES); e++)
    ones[e] = 1;
  multiply(steps * WRITES, steps * READS, KEYS_FILLED, d->score[0], 1, WRITE_LANES, own->q[0],
           KEYS_FILLED, ones, d->k[0], KEYS_FILLED);
  multiply(steps * READS, steps * WRITES, KEYS_FILLED, d->score[0], WRITE_LANES, 1, own->k[0],
           KEYS_FILLED, ones, d->q[0], KEYS_FILLED);
#endif
}
/* The gradient of the matrix before the segment. */
static void advance_matrix_back(const struct segment *own, const struct gradients *d, int steps, real *G) {
  multiply(KEYS, steps * READS, VALUES_FILLED, own->decayed_q[0], 1, KEYS_FILLED, d->r[0],
           VALUES_FILLED, own->retained, G, VALUES_FILLED);
}
