import { dashboard, figure, lines, table } from './panels.mjs'

const HTTP = 'postworks_http_request_duration_seconds'
const quantile = (q, by = 'le') =>
  `histogram_quantile(${q}, sum by (${by}) (rate(${HTTP}_bucket[$__rate_interval])))`
const share = (span) =>
  `(sum(rate(${HTTP}_count{status=~"5.."}[${span}])) or vector(0)) / clamp_min(sum(rate(${HTTP}_count[${span}])), 1e-9)`
const SLOW = 'api.md#postworksapislow'
const ERRORS = 'slo.md#postworksapiburnsbudget'
const REFUSES = 'api.md#postworksapirefuseswork'

export default dashboard({
  uid: 'api',
  title: 'API',
  says: 'What callers see: how fast, how often it fails, and whom it turns away.',
  rows: [
    ['Now', [
      figure({
        title: 'Requests a second',
        says: 'All requests, health pages included.',
        queries: [['', `sum(rate(${HTTP}_count[1m]))`]],
        unit: 'reqps',
        runbook: SLOW,
      }),
      figure({
        title: 'p99',
        says: 'The slowest hundredth of the requests takes at least so long. The target is half a second.',
        queries: [['', `histogram_quantile(0.99, sum by (le) (rate(${HTTP}_bucket[5m])))`]],
        unit: 's',
        limits: { warn: 0.3, bad: 0.5 },
        runbook: SLOW,
      }),
      figure({
        title: 'Answered with 5xx',
        says: 'The share of requests within five minutes that were not answered because of us; refusals of an overloaded API are among them.',
        queries: [['', share('5m')]],
        unit: 'percentunit',
        limits: { warn: 0.001, bad: 0.01 },
        decimals: 2,
        runbook: ERRORS,
      }),
      figure({
        title: 'Bounds reached',
        says: '0: work is taken. 1: new work is refused, urgent jobs are taken. 2: all work is refused.',
        queries: [['', 'max(postworks_admission_state)']],
        limits: { warn: 1, bad: 2 },
        runbook: REFUSES,
      }),
      figure({
        title: 'Refused, a minute',
        says: 'Requests for work that were answered 503 with Retry-After.',
        queries: [['', 'sum(rate(postworks_admission_refused_total[5m])) * 60']],
        unit: 'cpm',
        limits: { warn: 1, bad: 600 },
        runbook: REFUSES,
      }),
      figure({
        title: 'Rate-limited, a minute',
        says: 'Requests of clients that asked too often, answered 429.',
        queries: [['', 'sum(rate(postworks_rate_limited_total[5m])) * 60']],
        unit: 'cpm',
        limits: { warn: 60, bad: 6000 },
        runbook: REFUSES,
      }),
    ]],
    ['Requests', [
      lines({
        title: 'Requests, by status',
        says: '4xx that jump: a producer that was changed. 503: a bound was reached, or a store is away. 5xx else: a fault of ours; the log has it.',
        queries: [['{{status}}', `sum by (status) (rate(${HTTP}_count[$__rate_interval]))`]],
        unit: 'reqps',
        stack: true,
        runbook: ERRORS,
      }),
      lines({
        title: 'Time to an answer',
        says: 'All routes together.',
        queries: [['p50', quantile(0.5)], ['p95', quantile(0.95)], ['p99', quantile(0.99)]],
        unit: 's',
        limits: { bad: 0.5 },
        runbook: SLOW,
      }),
      lines({
        title: 'Time to an answer, p99 by route',
        says: 'One route alone: what it asks of PostgreSQL. All: the pool, the database, or the machine.',
        queries: [['{{method}} {{route}}', quantile(0.99, 'le, method, route')]],
        unit: 's',
        limits: { bad: 0.5 },
        runbook: SLOW,
      }),
      lines({
        title: 'Answered with 5xx',
        says: 'The share of all requests. The objective is less than one in a thousand over three days.',
        queries: [['5xx', share('$__rate_interval')]],
        unit: 'percentunit',
        limits: { warn: 0.001, bad: 0.01 },
        runbook: ERRORS,
      }),
    ]],
    ['What is turned away', [
      lines({
        title: 'Refused, by reason',
        says: 'Requests for work that met a bound, a minute. depth or oldest: too few workers. postgres: the database is slow. redis: it is full.',
        queries: [['{{reason}}', 'sum by (reason) (rate(postworks_admission_refused_total[$__rate_interval])) * 60']],
        unit: 'cpm',
        stack: true,
        runbook: REFUSES,
      }),
      lines({
        title: 'Bounds, by reason',
        says: '1 keeps new work out, 2 urgent work as well. Bounds that come and go by turns: the load is just what can be done.',
        queries: [['{{reason}}', 'max by (reason) (postworks_admission_state)']],
        steps: true,
        max: 2,
        decimals: 0,
        runbook: REFUSES,
      }),
      lines({
        title: 'Answers of /health',
        says: 'hit: known from a moment ago. miss: the stores were asked, once a second at most.',
        queries: [['{{result}}', 'sum by (result) (rate(postworks_health_cache_total[$__rate_interval]))']],
        unit: 'ops',
        stack: true,
        runbook: SLOW,
      }),
      table({
        title: 'Routes now',
        says: 'Requests a second and p99 of the last five minutes.',
        queries: [
          ['', `sort_desc(sum by (method, route) (rate(${HTTP}_count[5m])))`],
          ['', `histogram_quantile(0.99, sum by (le, method, route) (rate(${HTTP}_bucket[5m])))`],
        ],
        columns: { method: 'Method', route: 'Route', 'Value #A': 'Requests/s', 'Value #B': 'p99 (s)' },
        decimals: 3,
        runbook: SLOW,
      }),
    ]],
    ['Error budgets', [
      lines({
        title: 'How fast the budgets are used, over an hour',
        says: '1 uses a budget up in its time, three days. At 14.4 for an hour a fifth of it is gone, and somebody is called.',
        queries: [
          ['jobs that must not die', 'postworks:jobs_failed:ratio_rate1h / 0.001'],
          ['jobs that start in time', 'postworks:jobs_late:ratio_rate1h / 0.01'],
          ['requests', 'postworks:api_errors:ratio_rate1h / 0.001'],
        ],
        limits: { warn: 6, bad: 14.4 },
        width: 24,
        decimals: 1,
        runbook: 'slo.md',
      }),
    ]],
  ],
})
