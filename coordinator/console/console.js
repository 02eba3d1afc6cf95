// The console: what GET /v1/participants, /v1/transactions and their timelines tell, looked at anew every
// two seconds while the page is seen. It asks as anybody else does, with the token of the person before it,
// which is kept for the life of the browser's tab; it changes nothing. All that comes from the coordinator
// goes into the page as text.
'use strict';

const EVERY_MS = 2000, PAGE = 20;
const byId = (id) => document.getElementById(id);
let chosen = location.hash.slice(1) || null; // the transaction whose timeline is shown, as in /console#ID
let pages = 1; // of the list
let timer = null;

// ---- asking --------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
  }
}

async function ask(path) {
  const token = sessionStorage.getItem('token');
  const headers = { Accept: 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { headers, cache: 'no-store' });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body);
  return body;
}

// ---- showing -------------------------------------------------------------------------------------

function element(name, content, className) {
  const made = document.createElement(name);
  if (className) made.className = className;
  for (const part of [content].flat())
    if (part !== null && part !== undefined) made.append(part);
  return made;
}

const span = (ms) =>
  ms === null || ms === undefined ? '–'
    : ms < 1000 ? `${Math.round(ms)} ms`
    : ms < 120000 ? `${(ms / 1000).toFixed(1)} s`
    : ms < 7200000 ? `${Math.round(ms / 60000)} min` : `${Math.round(ms / 3600000)} h`;

// Times have microseconds, more than Date keeps.
const microseconds = (text) => Date.parse(text.slice(0, 19) + 'Z') * 1000 + Number(text.slice(20, 26));
const took = (t) => (t.applied_at ? span((microseconds(t.applied_at) - microseconds(t.created_at)) / 1000) : '');

function bar(value, limit) {
  if (value === null || limit === null) return 'not known';
  const meter = element('meter');
  Object.assign(meter, { min: 0, max: limit || 1, value, high: limit * 0.8, optimum: 0 });
  return [meter, ` ${value} of ${limit}`];
}

function card(p) {
  const rows = [
    ['agent', p.kind === 'agent' ? 'a process of its own' : 'within the coordinator'],
    ['latency', p.latency_us === null ? '–' : `${(p.latency_us / 1000).toFixed(1)} ms`],
    ['prepared', bar(p.prepared_count, p.prepared_limit)],
    ['oldest', span(p.oldest_prepared_ms)],
    ['connections', bar(p.running, p.connections_max)],
    ['under way', `${p.live_branches} branches, ${p.undelivered_decisions} decisions to deliver, ${p.queued} queued`],
    ['available', `${(p.availability.ratio * 100).toFixed(2)} %, ${p.availability.failures} failures`],
  ];
  if (p.replication && p.replication.warning) rows.push(['replication', element('span', p.replication.warning, 'error')]);
  if (p.last_error) rows.push(['error', element('span', p.last_error, 'error')]);
  const state = p.state === 'up' && p.draining ? 'draining' : p.state;
  return element('article', [
    element('h3', [p.name, ' ', element('span', state, state)]),
    element('dl', rows.flatMap(([name, value]) => [element('dt', name), element('dd', value)])),
  ], state);
}

function row(t) {
  const outcome = t.outcome === 'mixed' ? 'mixed' : t.state;
  const branches = t.branches.flatMap((b, i) => [i ? ', ' : null, `${b.participant} `, element('span', b.state, b.state)]);
  const made = element('tr', [
    element('td', t.created_at.slice(0, 23).replace('T', ' '), 'at'),
    element('td', outcome, `state ${outcome}`),
    element('td', t.label || t.id),
    element('td', branches),
    element('td', took(t), 'took'),
    element('td', t.cause ? `${t.cause.kind}: ${t.cause.message}` : ''),
  ], t.id === chosen ? 'chosen' : '');
  made.tabIndex = 0;
  made.title = t.id;
  made.onclick = () => choose(t.id);
  made.onkeydown = (event) => event.key === 'Enter' && choose(t.id);
  return made;
}

// A column for the coordinator and one for each participant, a row for each step.
function showTimeline(line) {
  const names = [...new Set(line.steps.map((s) => s.participant).filter(Boolean))];
  byId('one').hidden = false;
  byId('one-title').textContent = `Timeline of ${line.id}`;
  const waits = line.waiting_for.map((w) => [w.for, w.participant && `at ${w.participant}`, w.error && `(${w.error.message})`,
    ...w.blocked_by.map((b) => `blocked by session ${b.pid}`)].filter(Boolean).join(' ')).join('; ');
  byId('one-summary').replaceChildren(
    element('span', line.outcome || line.state, line.outcome || line.state),
    line.cause ? `: ${line.cause.kind}: ${line.cause.message}` : '',
    waits ? ` Waits for: ${waits}` : '', line.dropped ? ` (${line.dropped} steps dropped)` : '');
  byId('lanes').replaceChildren(element('tr', ['ms', 'coordinator', ...names].map((name) => element('th', name))));
  const began = line.steps.length ? microseconds(line.steps[0].at) : 0;
  byId('steps').replaceChildren(...line.steps.map((s) => {
    const text = [s.step.replaceAll('_', ' '), s.detail && element('span', ` ${s.detail}`, s.detail),
      s.attempt > 1 && ` (attempt ${s.attempt})`, s.error && element('span', ` ${s.error.message}`, 'error')];
    const lane = s.participant ? names.indexOf(s.participant) + 1 : 0;
    const cells = [element('td', ((microseconds(s.at) - began) / 1000).toFixed(1))];
    for (let i = 0; i <= names.length; i++) cells.push(element('td', i === lane ? text.filter(Boolean) : ''));
    return element('tr', cells);
  }));
}

// ---- looking -------------------------------------------------------------------------------------

async function showParticipants() {
  let list;
  try {
    list = (await ask('/v1/participants')).participants;
  } catch (error) {
    if (error.status !== 403) throw error;
    byId('participants').replaceChildren('An operator\'s token is needed to see them.');
    return;
  }
  byId('participants').replaceChildren(...list.map(card));
  const select = byId('filter').elements.participant;
  const known = new Set([...select.options].map((o) => o.value));
  select.append(...list.filter((p) => !known.has(p.name)).map((p) => new Option(p.name, p.name)));
}

async function showTransactions() {
  const rows = [];
  let cursor = null;
  for (let page = 0; page < pages; page++) {
    const query = new URLSearchParams({ limit: PAGE });
    for (const [name, value] of new FormData(byId('filter'))) if (value) query.set(name, value);
    if (cursor) query.set('cursor', cursor);
    const answer = await ask(`/v1/transactions?${query}`);
    rows.push(...answer.transactions.map(row));
    cursor = answer.next_cursor;
    if (!cursor) break;
  }
  byId('transactions').replaceChildren(...rows);
  byId('older').hidden = !cursor;
}

async function showChosen() {
  if (chosen) showTimeline(await ask(`/v1/transactions/${chosen}/timeline`));
}

function choose(id) {
  chosen = id;
  history.replaceState(null, '', `#${id}`);
  look().then(() => byId('one').scrollIntoView({ behavior: 'smooth' }));
}

async function look() {
  clearTimeout(timer);
  try {
    await showParticipants();
    await showTransactions();
    await showChosen();
    byId('status').replaceChildren(`as of ${new Date().toISOString().slice(11, 19)} UTC`);
    byId('login').hidden = true;
    byId('logout').hidden = !sessionStorage.getItem('token');
  } catch (error) {
    const text = error instanceof Refused ? error.message : 'the coordinator does not answer';
    byId('status').replaceChildren(element('span', text, 'error'));
    if (error.status === 401) byId('login').hidden = false;
  }
  clearTimeout(timer);
  if (!document.hidden && byId('login').hidden) timer = setTimeout(look, EVERY_MS);
}

document.addEventListener('visibilitychange', () => !document.hidden && look());
byId('filter').onsubmit = (event) => { event.preventDefault(); pages = 1; look(); };
byId('older').onclick = () => { pages++; look(); };
byId('login').onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem('token', byId('token').value);
  byId('token').value = '';
  byId('login').hidden = true;
  look();
};
byId('logout').onclick = () => { sessionStorage.removeItem('token'); location.reload(); };
look();
