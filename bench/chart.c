/* See chart.h. */
#include "bench/chart.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

enum { WIDTH = 720, HEIGHT = 380, LEFT = 70, RIGHT = 170, TOP = 46, BOTTOM = 50, TICKS = 5 };

/* Told apart also by those who do not see all colours (Okabe and Ito). */
static const char *const colours[CHART_SERIES_MAX] = {"#999999", "#0072b2", "#009e73", "#d55e00"};

static FILE *open_chart(const struct chart *chart, const char *directory) {
  char path[4096];
  (void)snprintf(path, sizeof path, "%s/%s", directory, chart->file);
  FILE *out = fopen(path, "we");
  must(out != NULL, path, strerror(errno));
  (void)fprintf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
                "aria-label=\"%s\">\n"
                "<style>text{font:13px sans-serif;fill:#333}.t{font-weight:bold;font-size:15px}"
                ".g{stroke:#8884}.e{text-anchor:end}.m{text-anchor:middle}"
                "@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>\n"
                "<text class=\"t\" x=\"%d\" y=\"24\">%s</text>\n",
                WIDTH, HEIGHT, chart->title, LEFT, chart->title);
  return out;
}

static void close_chart(FILE *out) {
  (void)fputs("</svg>\n", out);
  must(fclose(out) == 0, "a chart", strerror(errno));
}

/* The next of 1, 2, 5, 10, 20, ... that TICKS of them reach. */
static double tick_for(double most) {
  double tick = 1e-3;
  static const double steps[] = {2, 2.5, 2};
  for (int i = 0; tick * TICKS < most; i++)
    tick *= steps[i % 3];
  return tick;
}

static double height_of(double value, double top) {
  return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
}

static double draw_scale(FILE *out, double most) {
  double tick = tick_for(most);
  for (int i = 0; i <= TICKS; i++) {
    double y = height_of(i, TICKS);
    (void)fprintf(out,
                  "<line class=\"g\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                  "<text class=\"e\" x=\"%d\" y=\"%.1f\">%g</text>\n",
                  LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4, tick * i);
  }
  return tick * TICKS;
}

static void draw_key(FILE *out, const struct chart *chart) {
  for (unsigned k = 0; k < chart->count; k++) {
    int y = TOP + 8 + 22 * (int)k;
    (void)fprintf(out,
                  "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"/>"
                  "<text x=\"%d\" y=\"%d\">%s</text>\n",
                  WIDTH - RIGHT + 20, y - 11, colours[k], WIDTH - RIGHT + 40, y,
                  chart->series[k].name);
  }
}

static void draw_x(FILE *out, const struct chart *chart, unsigned point, double x) {
  (void)fprintf(out, "<text class=\"m\" x=\"%.1f\" y=\"%d\">%s</text>\n", x, HEIGHT - BOTTOM + 20,
                chart->x[point]);
  if (point == 0 && chart->x_title)
    (void)fprintf(out, "<text class=\"m\" x=\"%d\" y=\"%d\">%s</text>\n",
                  LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 10, chart->x_title);
}

void chart_draw_lines(const struct chart *chart, const char *directory) {
  FILE *out = open_chart(chart, directory);
  double most = 0, width = WIDTH - LEFT - RIGHT, places[CHART_POINTS_MAX];
  for (unsigned i = 0; i < chart->points; i++)
    for (unsigned k = 0; k < chart->count; k++)
      most = fmax(most, chart->series[k].values[i]);
  double top = draw_scale(out, most);
  for (unsigned i = 0; i < chart->points; i++) {
    places[i] = LEFT + (chart->points > 1 ? width * i / (chart->points - 1) : width / 2);
    draw_x(out, chart, i, places[i]);
  }
  for (unsigned k = 0; k < chart->count; k++) {
    (void)fprintf(out, "<polyline fill=\"none\" stroke-width=\"2.5\" stroke=\"%s\" points=\"",
                  colours[k]);
    for (unsigned i = 0; i < chart->points; i++)
      (void)fprintf(out, "%.1f,%.1f ", places[i], height_of(chart->series[k].values[i], top));
    (void)fputs("\"/>\n", out);
  }
  draw_key(out, chart);
  close_chart(out);
}

static double sum_at(const struct chart *chart, unsigned point) {
  double sum = 0;
  for (unsigned k = 0; k < chart->count; k++)
    sum += chart->series[k].values[point];
  return sum;
}

void chart_draw_bars(const struct chart *chart, const char *directory) {
  FILE *out = open_chart(chart, directory);
  double most = 0, step = (double)(WIDTH - LEFT - RIGHT) / chart->points;
  for (unsigned i = 0; i < chart->points; i++)
    most = fmax(most, sum_at(chart, i));
  double top = draw_scale(out, most);
  for (unsigned i = 0; i < chart->points; i++) {
    double x = LEFT + step * i + step / 5, below = height_of(0, top), sum = 0;
    for (unsigned k = 0; k < chart->count; k++) {
      sum += chart->series[k].values[i];
      double above = height_of(sum, top);
      (void)fprintf(out,
                    "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x,
                    above, step * 3 / 5, below - above, colours[k]);
      below = above;
    }
    draw_x(out, chart, i, x + step * 3 / 10);
  }
  draw_key(out, chart);
  close_chart(out);
}
