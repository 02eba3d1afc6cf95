/* Charts as SVG, readable on light and dark pages. */
#ifndef ASSENT_BENCH_CHART_H
#define ASSENT_BENCH_CHART_H

enum { CHART_POINTS_MAX = 16, CHART_SERIES_MAX = 4 };

struct chart {
  const char *file, *title;
  const char *x_title;             /* NULL: none */
  const char *x[CHART_POINTS_MAX]; /* what stands below each point */
  unsigned points, count;          /* of `series` */
  struct {
    const char *name;
    double values[CHART_POINTS_MAX];
  } series[CHART_SERIES_MAX];
};

/* Into a directory that exists. Each series a line; or each point a bar, the series one on the other. */
void chart_draw_lines(const struct chart *chart, const char *directory);
void chart_draw_bars(const struct chart *chart, const char *directory);

#endif
