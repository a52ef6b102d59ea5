import { dashboard, figure, lines, table } from './panels.mjs'

const OF_QUEUE = 'queue=~"$queue"'
const OF_KIND = 'kind=~"$kind"'
const jobs = (state) => `max by (queue) (postworks_queue_jobs{state="${state}",${OF_QUEUE}})`
const AGE = `max by (queue) (postworks_queue_oldest_ready_age_seconds{${OF_QUEUE}})`
const quantile = (q, metric, by = 'le') =>
  `histogram_quantile(${q}, sum by (${by}) (rate(${metric}_bucket{${OF_KIND}}[$__rate_interval])))`

export default dashboard({
  uid: 'queues',
  title: 'Queues and workers',
  says: 'What waits, how long, what is done about it, and by whom.',
  variables: ['queue', 'kind'],
  rows: [
    ['Now', [
      figure({
        title: 'Due',
        says: 'Jobs that could run now and do not. At 10,000 the API begins to refuse work.',
        queries: [['', `sum(${jobs('ready')})`]],
        limits: { warn: 5000, bad: 10_000 },
        runbook: 'queues.md#postworksqueuesdeep',
      }),
      figure({
        title: 'Oldest due',
        says: 'How long the oldest of them has waited. This, and not the number, is what customers feel.',
        queries: [['', `max(${AGE})`]],
        unit: 's',
        limits: { warn: 60, bad: 300 },
        runbook: 'queues.md#postworksjobswaittoolong',
      }),
      figure({
        title: 'Running',
        says: 'Jobs that a worker holds. 0 while jobs are due: nobody works, or everything is shut.',
        queries: [['', `sum(${jobs('running')})`]],
        runbook: 'queues.md#postworksqueueunserved',
      }),
      figure({
        title: 'Done a second',
        says: 'Jobs that completed within the last minute, a second.',
        queries: [['', `sum(rate(postworks_job_attempts_total{outcome="completed",${OF_QUEUE}}[1m]))`]],
        unit: 'ops',
        runbook: 'queues.md#postworksqueuesdeep',
      }),
      figure({
        title: 'Busy places',
        says: 'Of all the workers\' places, those with a job. Above 80 % for long, start more workers; near 0 with jobs due, look for what is shut.',
        queries: [['', 'sum(postworks_worker_slots{state="busy"}) / clamp_min(sum(postworks_worker_slots), 1)']],
        unit: 'percentunit',
        max: 1,
        limits: { warn: 0.8, bad: 0.95 },
        runbook: 'queues.md#postworksqueuesdeep',
      }),
      figure({
        title: 'Workers',
        says: 'Worker processes that Prometheus reaches.',
        queries: [['', 'count(postworks_worker_slots{state="busy"})']],
        limits: { bad: 1, warn: 2, low: true },
        runbook: 'fleet.md#postworksmetricsabsent',
      }),
    ]],
    ['Waiting', [
      lines({
        title: 'Due, by queue',
        says: 'A queue that rises alone is served by nobody, paused, or has a platform in trouble. All that rise together have too few workers.',
        queries: [['{{queue}}', jobs('ready')]],
        stack: true,
        runbook: 'queues.md#postworksqueuesdeep',
      }),
      lines({
        title: 'Oldest due, by queue',
        says: 'A line that rises by a second a second: nothing is claimed from this queue.',
        queries: [['{{queue}}', AGE]],
        unit: 's',
        limits: { warn: 60, bad: 300 },
        runbook: 'queues.md#postworksjobswaittoolong',
      }),
      lines({
        title: 'Waiting for their time, by queue',
        says: 'Jobs for later: scheduled ones, retries, and those that a window put off. A mountain of retries means a platform in trouble.',
        queries: [['{{queue}}', jobs('delayed')]],
        stack: true,
        runbook: 'platforms.md#postworksbreakeropen',
      }),
      lines({
        title: 'Put off, by reason',
        says: 'Runs that were put off at no attempt\'s cost, a second. rate_limited: a platform\'s window or a quota; token_refresh: accounts whose tokens are renewed, or could not be; needs_reauth: accounts to reconnect; newer_worker: a rolling deploy that is not finished.',
        queries: [['{{reason}}', `sum by (reason) (rate(postworks_jobs_snoozed_total{${OF_QUEUE}}[$__rate_interval]))`]],
        unit: 'ops',
        stack: true,
        runbook: 'platforms.md#postworksbreakeropen',
      }),
      lines({
        title: 'How late schedules are',
        says: 'How long the oldest schedule has been due whose job is not made. Seconds at a full minute are usual. A line that rises by a second a second: nobody makes the jobs of schedules.',
        queries: [['late', 'max(postworks_schedule_lag_seconds)']],
        unit: 's',
        width: 24,
        limits: { warn: 30, bad: 120 },
        runbook: 'queues.md#postworksscheduleslate',
      }),
    ]],
    ['Work', [
      lines({
        title: 'Runs, by outcome',
        says: 'What runs ended in, a second. dead is what people must look at; retry and snooze are what the product deals with by itself.',
        queries: [['{{outcome}}', `sum by (outcome) (rate(postworks_job_attempts_total{${OF_QUEUE},${OF_KIND}}[$__rate_interval]))`]],
        unit: 'ops',
        stack: true,
        runbook: 'dead-letters.md#postworksjobsfail',
      }),
      lines({
        title: 'Enqueued, by kind',
        says: 'New jobs a second. A step that nobody announced is a producer that runs wild.',
        queries: [['{{kind}}', `sum by (kind) (rate(postworks_jobs_enqueued_total{${OF_QUEUE},${OF_KIND}}[$__rate_interval]))`]],
        unit: 'ops',
        stack: true,
        runbook: 'queues.md#postworksqueuesdeep',
      }),
      lines({
        title: 'From due to started',
        says: 'How long jobs waited for a worker, among those that started. The target for p99 is 3 s.',
        queries: [['p50', quantile(0.5, 'postworks_job_wait_seconds')], ['p95', quantile(0.95, 'postworks_job_wait_seconds')], ['p99', quantile(0.99, 'postworks_job_wait_seconds')]],
        unit: 's',
        limits: { bad: 3 },
        runbook: 'queues.md#postworksjobsstartlate',
      }),
      lines({
        title: 'Run time, p99 by kind',
        says: 'How long a run took. A kind that got slower is a platform that got slower, or a handler.',
        queries: [['{{kind}}', quantile(0.99, 'postworks_job_run_seconds', 'le, kind')]],
        unit: 's',
        runbook: 'queues.md#postworksjobsstartlate',
      }),
      lines({
        title: 'From enqueued to ended, p99 by kind',
        says: 'With all its retries and waits. Hours here with short run times: jobs that wait for a platform or an account.',
        queries: [['{{kind}}', quantile(0.99, 'postworks_job_total_seconds', 'le, kind')]],
        unit: 's',
        runbook: 'queues.md#postworksjobsstartlate',
      }),
      lines({
        title: 'Longest run under way',
        says: 'By worker. Near the kind\'s timeout: a platform that hangs. Beyond it: a handler that blocks its thread.',
        queries: [['{{instance}}', 'postworks_longest_run_seconds']],
        unit: 's',
        limits: { warn: 60, bad: 300 },
        runbook: 'fleet.md#postworksleaseslost',
      }),
    ]],
    ['Workers', [
      lines({
        title: 'Places',
        says: 'Busy and free places of all workers. No free place for long: start more workers.',
        queries: [['{{state}}', 'sum by (state) (postworks_worker_slots)']],
        stack: true,
        runbook: 'queues.md#postworksqueuesdeep',
      }),
      lines({
        title: 'Workers that serve each queue',
        says: 'As their connections say. 0 with jobs due: nobody will ever run them.',
        queries: [['{{queue}}', `max by (queue) (postworks_queue_workers{${OF_QUEUE}})`]],
        steps: true,
        runbook: 'queues.md#postworksqueueunserved',
      }),
      lines({
        title: 'What went wrong with workers',
        says: 'Jobs taken back from workers that vanished, leases lost while a handler ran, verdicts that came too late; in five minutes. Each may have run twice, which its effect\'s key makes harmless.',
        queries: [
          ['taken back', 'sum(increase(postworks_jobs_reclaimed_total[5m]))'],
          ['leases lost', 'sum(increase(postworks_leases_lost_total[5m]))'],
          ['late verdicts', 'sum(increase(postworks_stale_settles_total[5m]))'],
        ],
        runbook: 'fleet.md#postworksleaseslost',
      }),
      lines({
        title: 'Generations of the queues',
        says: 'Each step is a Redis that lost its memory and was filled again from PostgreSQL. Steps that nobody caused: Redis restarts, or fails over.',
        queries: [['{{queue}}', `max by (queue) (postworks_queue_generation{${OF_QUEUE}})`]],
        steps: true,
        runbook: 'redis.md#postworksredisevicts',
      }),
      table({
        title: 'Queues now',
        says: 'Due, oldest due, workers, and whether a person paused it (1) or a platform keeps it shut (seconds).',
        queries: [
          ['', jobs('ready')],
          ['', AGE],
          ['', `max by (queue) (postworks_queue_workers{${OF_QUEUE}})`],
          ['', `max by (queue) (postworks_queue_paused{${OF_QUEUE}})`],
          ['', `max by (queue) (postworks_queue_window_seconds{${OF_QUEUE}})`],
        ],
        columns: { queue: 'Queue', 'Value #A': 'Due', 'Value #B': 'Oldest (s)', 'Value #C': 'Workers', 'Value #D': 'Paused', 'Value #E': 'Window (s)' },
        width: 24,
        height: 11,
        decimals: 1,
        runbook: 'queues.md#postworksqueueunserved',
      }),
    ]],
  ],
})
