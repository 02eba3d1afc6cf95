/* The charts of a run as SVG, readable on light and dark pages. See figures.h. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/figures.h"

enum { WIDTH = 720, HEIGHT = 380, LEFT = 70, RIGHT = 170, TOP = 46, BOTTOM = 50, TICKS = 5 };

static const enum program drawn[] = {LIMIT, EMBEDDED, AGENTS, BYHAND};
enum { DRAWN = sizeof drawn / sizeof drawn[0] };
/* Told apart also by those who do not see all colours (Okabe and Ito). */
static const char *const colours[DRAWN] = {"#999999", "#0072b2", "#009e73", "#d55e00"};

static FILE *open_chart(const char *directory, const char *name, const char *title) {
  char path[4096];
  (void)snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *out = fopen(path, "we");
  must(out != NULL, path, strerror(errno));
  (void)fprintf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
                "aria-label=\"%s\">\n"
                "<style>text{font:13px sans-serif;fill:#333}.t{font-weight:bold;font-size:15px}"
                ".g{stroke:#8884}.e{text-anchor:end}.m{text-anchor:middle}"
                "@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>\n"
                "<text class=\"t\" x=\"%d\" y=\"24\">%s</text>\n",
                WIDTH, HEIGHT, title, LEFT, title);
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

static void draw_key(FILE *out, int line, const char *colour, const char *text) {
  int y = TOP + 8 + 22 * line;
  (void)fprintf(out,
                "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"/>"
                "<text x=\"%d\" y=\"%d\">%s</text>\n",
                WIDTH - RIGHT + 20, y - 11, colour, WIDTH - RIGHT + 40, y, text);
}

/* ---- lines over clients -------------------------------------------------------------------------- */

static double place_of(unsigned index, unsigned count) {
  double width = WIDTH - LEFT - RIGHT;
  return count > 1 ? LEFT + width * index / (count - 1) : LEFT + width / 2;
}

static void draw_lines(const struct row *rows, unsigned count, const char *directory,
                       const char *name, const char *title, enum figure figure) {
  FILE *out = open_chart(directory, name, title);
  double most = 0;
  for (unsigned i = 0; i < count; i++)
    for (int k = 0; k < DRAWN; k++)
      most = fmax(most, rows[i].median[drawn[k]].of[figure]);
  double top = draw_scale(out, most);
  for (unsigned i = 0; i < count; i++)
    (void)fprintf(out, "<text class=\"m\" x=\"%.1f\" y=\"%d\">%u</text>\n", place_of(i, count),
                  HEIGHT - BOTTOM + 20, rows[i].clients);
  (void)fprintf(out, "<text class=\"m\" x=\"%d\" y=\"%d\">clients</text>\n",
                LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 10);
  for (int k = 0; k < DRAWN; k++) {
    (void)fprintf(out, "<polyline fill=\"none\" stroke-width=\"2.5\" stroke=\"%s\" points=\"",
                  colours[k]);
    for (unsigned i = 0; i < count; i++)
      (void)fprintf(out, "%.1f,%.1f ", place_of(i, count),
                    height_of(rows[i].median[drawn[k]].of[figure], top));
    (void)fputs("\"/>\n", out);
    draw_key(out, k, colours[k], program_name(drawn[k]));
  }
  close_chart(out);
}

/* ---- where a transaction's CPU goes -------------------------------------------------------------- */

static void draw_cpu(const struct row *row, const char *directory) {
  static const struct {
    enum figure figure;
    const char *colour, *text;
  } parts[] = {{FIGURE_CPU_SERVERS_US, "#999999", "PostgreSQL"},
               {FIGURE_CPU_COORDINATOR_US, "#0072b2", "assentd"},
               {FIGURE_CPU_AGENTS_US, "#009e73", "agents"},
               {FIGURE_CPU_CLIENT_US, "#d55e00", "client"}};
  enum { PARTS = sizeof parts / sizeof parts[0] };
  char title[80];
  (void)snprintf(title, sizeof title, "CPU microseconds a transaction, %u clients", row->clients);
  FILE *out = open_chart(directory, "cpu.svg", title);
  double most = 0;
  for (int k = 0; k < DRAWN; k++) {
    double sum = 0;
    for (int part = 0; part < PARTS; part++)
      sum += row->median[drawn[k]].of[parts[part].figure];
    most = fmax(most, sum);
  }
  double top = draw_scale(out, most), step = (double)(WIDTH - LEFT - RIGHT) / DRAWN;
  for (int k = 0; k < DRAWN; k++) {
    double x = LEFT + step * k + step / 5, sum = 0;
    for (int part = 0; part < PARTS; part++) {
      double value = row->median[drawn[k]].of[parts[part].figure];
      double below = height_of(sum, top), above = height_of(sum + value, top);
      sum += value;
      (void)fprintf(out,
                    "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x,
                    above, step * 3 / 5, below - above, parts[part].colour);
    }
    (void)fprintf(out, "<text class=\"m\" x=\"%.1f\" y=\"%d\">%s</text>\n", x + step * 3 / 10,
                  HEIGHT - BOTTOM + 20, program_name(drawn[k]));
  }
  for (int part = 0; part < PARTS; part++)
    draw_key(out, part, parts[part].colour, parts[part].text);
  close_chart(out);
}

void rows_draw(const struct row *rows, unsigned count, const char *directory) {
  const struct row *typical = &rows[0];
  for (unsigned i = 0; i < count; i++)
    if (rows[i].clients <= 32) typical = &rows[i];
  draw_lines(rows, count, directory, "throughput.svg", "Transactions a second over two databases",
             FIGURE_TPS);
  draw_lines(rows, count, directory, "latency.svg", "Median latency of a transaction, ms",
             FIGURE_P50_MS);
  draw_cpu(typical, directory);
}
