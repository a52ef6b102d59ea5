import { dashboard, figure, lines, table } from './panels.mjs'

const DUE = 'sum(max by (queue) (postworks_queue_jobs{state="ready"}))'
const DONE = (span) => `sum(rate(postworks_job_attempts_total{outcome=~"completed|dead|cancelled"}[${span}]))`
const CAME = (span) => `sum(rate(postworks_jobs_enqueued_total[${span}]))`
const RAN = (span) => `sum(rate(postworks_job_run_seconds_sum[${span}]))`
const DEEP = 'queues.md#postworksqueuesdeep'
const OURS = 'job=~"postworks.*"'

export default dashboard({
  uid: 'capacity',
  title: 'Capacity',
  says: 'Whether there are enough workers, and what will be short next.',
  rows: [
    ['Now', [
      figure({
        title: 'Busy places',
        says: 'Above 80 % for long there is no room for a spike.',
        queries: [['', 'sum(postworks_worker_slots{state="busy"}) / clamp_min(sum(postworks_worker_slots), 1)']],
        unit: 'percentunit',
        max: 1,
        limits: { warn: 0.8, bad: 0.95 },
        runbook: DEEP,
      }),
      figure({
        title: 'Until the backlog is done',
        says: 'Due jobs at the pace of the last five minutes, if nothing came any more. Longer than the oldest job may wait: start workers.',
        queries: [['', `${DUE} / clamp_min(${DONE('5m')}, 1e-3)`]],
        unit: 's',
        limits: { warn: 60, bad: 300 },
        runbook: DEEP,
      }),
      figure({
        title: 'Comes in, against done',
        says: 'New jobs for each that ended, over five minutes. Above 1 for long, the backlog grows.',
        queries: [['', `${CAME('5m')} / clamp_min(${DONE('5m')}, 1e-3)`]],
        decimals: 2,
        limits: { warn: 1.2, bad: 2 },
        runbook: DEEP,
      }),
      figure({
        title: 'Places needed',
        says: 'New jobs a second times the mean time of a run (Little\'s law): so many places are busy on average. Have a third more.',
        queries: [['', `${CAME('5m')} * ${RAN('5m')} / clamp_min(sum(rate(postworks_job_run_seconds_count[5m])), 1e-9)`]],
        decimals: 1,
        runbook: DEEP,
      }),
      figure({
        title: 'Places there are',
        says: 'Of all workers. Below what is needed, the backlog grows.',
        queries: [['', 'sum(postworks_worker_slots)']],
        limits: { bad: 1, warn: 2, low: true },
        runbook: DEEP,
      }),
      figure({
        title: 'Processes',
        says: 'APIs and workers that Prometheus reaches, of those it knows.',
        queries: [['up', `sum(up{${OURS}})`], ['known', `count(up{${OURS}})`]],
        limits: { bad: 1, warn: 2, low: true },
        runbook: 'fleet.md#postworkstargetdown',
      }),
    ]],
    ['Demand and supply', [
      lines({
        title: 'Comes in and is done',
        says: 'Jobs a second. Where in stays above done, the backlog grows by what is between.',
        queries: [['enqueued', CAME('$__rate_interval')], ['ended', DONE('$__rate_interval')]],
        unit: 'ops',
        runbook: DEEP,
      }),
      lines({
        title: 'Places: busy, and needed on average',
        says: 'Needed is seconds of work done a second. Busy near all places: saturated.',
        queries: [['busy', 'sum(postworks_worker_slots{state="busy"})'], ['all', 'sum(postworks_worker_slots)'], ['needed', RAN('$__rate_interval')]],
        runbook: DEEP,
      }),
      lines({
        title: 'Workers: running, and called for',
        says: 'Worker processes, and how many there should be by [autoscale]. Called for above running for long: nobody starts them, or max_workers is too low.',
        queries: [['running', 'max(postworks_autoscale_running_workers)'], ['called for', 'max(postworks_autoscale_desired_workers)']],
        steps: true,
        decimals: 0,
        runbook: DEEP,
      }),
      lines({
        title: 'Backlog, and how long it will take',
        says: 'Due jobs, and seconds until they are done at the pace of five minutes.',
        queries: [['due', DUE], ['seconds', `${DUE} / clamp_min(${DONE('5m')}, 1e-3)`]],
        runbook: DEEP,
      }),
    ]],
    ['Processes', [
      lines({
        title: 'Processor time, by process',
        says: 'Processors in use. A worker that has one whole: handlers that compute, or too many jobs of a few milliseconds.',
        queries: [['{{role}} {{instance}}', `rate(process_cpu_seconds_total{${OURS}}[1m])`]],
        runbook: 'fleet.md#postworkstargetdown',
      }),
      lines({
        title: 'Memory, by process',
        says: 'Resident. It follows what a process holds, and does not grow with the backlog; a line that only rises is a leak.',
        queries: [['{{role}} {{instance}}', `process_resident_memory_bytes{${OURS}}`]],
        unit: 'bytes',
        runbook: 'fleet.md#postworkstargetdown',
      }),
      lines({
        title: 'Open files, by process',
        says: 'Mostly connections. Near the limit nothing can be opened any more.',
        queries: [['{{role}} {{instance}}', `process_open_fds{${OURS}}`]],
        runbook: 'fleet.md#postworkstargetdown',
      }),
      table({
        title: 'Versions',
        says: 'Processes by version. Two for longer than a deploy: it did not finish, and jobs of newer kinds wait.',
        queries: [['', 'count by (role, version) (postworks_build_info)']],
        columns: { role: 'Role', version: 'Version', Value: 'Processes' },
        runbook: 'fleet.md#postworkstargetdown',
      }),
    ]],
  ],
})
