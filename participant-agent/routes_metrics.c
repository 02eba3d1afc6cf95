/* GET /metrics: an agent's figures for Prometheus, by database. A scrape asks no database: counts of
 * prepared transactions are those that the coordinator's last question for its health found. */
#include "participant-agent/routes_metrics.h"

#include "common/metrics.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- counters --------------------------------------------------------------------------------- */

static void write_counters(struct metrics_page *page, const struct agent_routes *routes) {
  metrics_family(page, "assent_agent_requests_total", "counter",
                 "Requests of coordinators answered, by result: ok, refused, unavailable "
                 "(certainly without effect), lost (nobody knows).");
  for (size_t i = 0; i < routes->count; i++)
    for (int call = 0; call < AGENT_CALLS; call++)
      for (int result = 0; result < AGENT_RESULTS; result++)
        metrics_sample(page, (double)agent_figures(routes->agents[i].agent)->calls[call][result],
                       LABELS({"database", routes->agents[i].name},
                              {"call", agent_call_names[call]},
                              {"result", agent_result_names[result]}));
  metrics_family(page, "assent_agent_votes_total", "counter",
                 "Votes given; yes is also the answer to statements in an open branch.");
  for (size_t i = 0; i < routes->count; i++)
    for (int vote = 0; vote < AGENT_VOTES; vote++)
      metrics_sample(page, (double)agent_figures(routes->agents[i].agent)->votes[vote],
                     LABELS({"database", routes->agents[i].name},
                            {"vote", vote_name((enum vote)vote)}));
  metrics_family(page, "assent_agent_outcomes_total", "counter",
                 "How branches stood when their decision was answered.");
  for (size_t i = 0; i < routes->count; i++)
    for (int outcome = 0; outcome < AGENT_OUTCOMES; outcome++)
      metrics_sample(page, (double)agent_figures(routes->agents[i].agent)->outcomes[outcome],
                     LABELS({"database", routes->agents[i].name},
                            {"outcome", branch_outcome_name((enum branch_outcome)outcome)}));
}

/* ---- gauges; below 0: not known --------------------------------------------------------------- */

static double is_up(const struct health_reply *h) {
  return h->connected ? 1 : 0;
}
static double latency_s(const struct health_reply *h) {
  return h->latency_us < 0 ? -1 : (double)h->latency_us * 1e-6;
}
static double prepared(const struct health_reply *h) {
  return (double)h->prepared_count;
}
static double prepared_limit(const struct health_reply *h) {
  return h->server[0] ? (double)h->prepared_max : -1;
}
static double oldest_prepared_s(const struct health_reply *h) {
  if (h->prepared_count < 0) return -1;
  return h->oldest_prepared_ms > 0 ? (double)h->oldest_prepared_ms * 1e-3 : 0;
}
static double connections(const struct health_reply *h) {
  return (double)h->connections;
}
static double connections_limit(const struct health_reply *h) {
  return (double)h->connections_max;
}
static double waiting(const struct health_reply *h) {
  return (double)h->waiting;
}
static double running(const struct health_reply *h) {
  return (double)h->running;
}
static double running_limit(const struct health_reply *h) {
  return (double)h->running_max;
}

static void write_gauges(struct metrics_page *page, const struct agent_routes *routes) {
  static const struct {
    const char *name, *help;
    double (*value)(const struct health_reply *health);
  } gauges[] = {
      {"assent_agent_database_up", "1 while the agent is connected to its database.", is_up},
      {"assent_agent_database_latency_seconds", "The last round trip to the database.", latency_s},
      {"assent_agent_prepared_transactions",
       "Prepared transactions of anybody on its server, when its health was last asked for.",
       prepared},
      {"assent_agent_prepared_transactions_limit", "max_prepared_transactions of its server.",
       prepared_limit},
      {"assent_agent_oldest_prepared_age_seconds",
       "Age of the oldest of these, when its health was last asked for; 0: none.",
       oldest_prepared_s},
      {"assent_agent_pool_connections", "Open connections for branches' work.", connections},
      {"assent_agent_pool_connections_limit", "How many there may be.", connections_limit},
      {"assent_agent_pool_waiting", "Runs that wait for a connection.", waiting},
      {"assent_agent_pool_running", "Connections on which something runs.", running},
      {"assent_agent_pool_running_limit",
       "For how many at once there is new work, as found by trying.", running_limit},
  };
  for (size_t i = 0; i < COUNT(gauges); i++) {
    metrics_family(page, gauges[i].name, "gauge", gauges[i].help);
    for (size_t j = 0; j < routes->count; j++) {
      struct health_reply health;
      agent_describe(routes->agents[j].agent, &health);
      double value = gauges[i].value(&health);
      if (value >= 0) metrics_sample(page, value, LABELS({"database", routes->agents[j].name}));
    }
  }
}

void handle_metrics(struct http_request *request, void *data) {
  struct metrics_page page;
  metrics_init(&page);
  write_counters(&page, data);
  write_gauges(&page, data);
  const struct agent_routes *routes = data;
  tracer_metrics(&page, routes->tracer);
  metrics_process(&page);
  size_t length;
  char *text = metrics_take(&page, &length);
  http_respond_take(request, 200, metrics_content_type, text, length, NULL, 0);
}
