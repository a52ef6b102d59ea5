import { dashboard, figure, lines } from './panels.mjs'

const memory = (kind) => `max(postworks_redis_memory_bytes{kind="${kind}"})`
const quantile = (q, metric, by, match = '') =>
  `histogram_quantile(${q}, sum by (le, ${by}) (rate(${metric}_bucket${match}[$__rate_interval])))`
const MEMORY = 'redis.md#postworksredismemory'
const SLOW = 'postgres.md#postworksdatabaseslow'
const POOL = 'postgres.md#postworkspoolbusy'

export default dashboard({
  uid: 'stores',
  title: 'Redis and Postgres',
  says: 'The index and the record: whether they have room, and how fast they answer.',
  rows: [
    ['Now', [
      figure({
        title: 'Redis memory',
        says: 'Of maxmemory. Full, Redis takes no more jobs; they wait in PostgreSQL, and nothing is lost. Nothing is shown as used where no maxmemory is set.',
        queries: [['', `${memory('used')} / (${memory('max')} > 0) or vector(0)`]],
        unit: 'percentunit',
        max: 1,
        limits: { warn: 0.85, bad: 0.95 },
        runbook: MEMORY,
      }),
      figure({
        title: 'Fragmentation',
        says: 'What Redis takes of the machine for each byte that it uses. Above 1.5 with much memory in use: set activedefrag, or restart a replica and fail over.',
        queries: [['', 'max(postworks_redis_fragmentation_ratio)']],
        limits: { warn: 1.5, bad: 2.5 },
        decimals: 2,
        runbook: 'redis.md#postworksredisfragmented',
      }),
      figure({
        title: 'Evicted in an hour',
        says: 'Keys that Redis threw away. Any at all means that maxmemory-policy is not noeviction, and queues are being lost and filled again.',
        queries: [['', 'sum(increase(postworks_redis_evicted_keys_total[1h]))']],
        limits: { bad: 1 },
        decimals: 0,
        runbook: 'redis.md#postworksredisevicts',
      }),
      figure({
        title: 'Database p99',
        says: 'What callers wait for, without chores and operators\' lists.',
        queries: [['', 'histogram_quantile(0.99, sum by (le) (rate(postworks_db_query_seconds_bucket{class!~"chore|admin"}[5m])))']],
        unit: 's',
        limits: { warn: 0.3, bad: 0.5 },
        runbook: SLOW,
      }),
      figure({
        title: 'Fullest pool',
        says: 'Of the process that has the fewest connections left. At 1 its jobs wait for one another.',
        queries: [['', 'max(sum by (role, instance) (postworks_db_pool_connections{state="busy"}) / on (role, instance) postworks_db_pool_max)']],
        unit: 'percentunit',
        max: 1,
        limits: { warn: 0.8, bad: 0.95 },
        runbook: POOL,
      }),
      figure({
        title: 'Relay lag',
        says: 'How long the oldest accepted job is missing in Redis. Seconds are usual after Redis was away.',
        queries: [['', 'max(postworks_relay_lag_seconds)']],
        unit: 's',
        limits: { warn: 30, bad: 120 },
        runbook: 'redis.md#postworksrelaylags',
      }),
    ]],
    ['Redis', [
      lines({
        title: 'Memory',
        says: 'used is what counts against max; rss is what the machine gave. used that rises while queues do not: somebody else uses this Redis.',
        queries: [['{{kind}}', 'max by (kind) (postworks_redis_memory_bytes) > 0']],
        unit: 'bytes',
        runbook: MEMORY,
      }),
      lines({
        title: 'Time of commands, p99',
        says: 'Round trips, by what they are for. All slow: the server or the network. Claims alone: long queues of jobs that must be put off.',
        queries: [['{{operation}}', quantile(0.99, 'postworks_broker_operation_seconds', 'operation')]],
        unit: 's',
        limits: { warn: 0.05, bad: 0.25 },
        runbook: 'redis.md#postworksstoresfail',
      }),
      lines({
        title: 'Commands',
        says: 'Round trips a second, by what they are for. Idle workers ask for next to nothing; claims that rise without jobs done: jobs that are put off again and again.',
        queries: [['{{operation}}', 'sum by (operation) (rate(postworks_broker_operation_seconds_count[$__rate_interval]))']],
        unit: 'ops',
        stack: true,
        runbook: 'redis.md#postworksstoresfail',
      }),
      lines({
        title: 'Commands that failed',
        says: 'A minute. Each is repeated until it is taken; a lasting line is an outage.',
        queries: [['{{operation}}', 'sum by (operation) (rate(postworks_broker_errors_total[$__rate_interval])) * 60']],
        unit: 'cpm',
        stack: true,
        runbook: 'redis.md#postworksstoresfail',
      }),
      lines({
        title: 'Clients and fragmentation',
        says: 'Connections that Redis has, and memory taken for each byte used.',
        queries: [['clients', 'max(postworks_redis_connected_clients)'], ['fragmentation', 'max(postworks_redis_fragmentation_ratio)']],
        runbook: 'redis.md#postworksredisfragmented',
      }),
      lines({
        title: 'Relay',
        says: 'Jobs that the commit could not push by itself, a minute, and how old the oldest of them is. Both stay at 0 while Redis is well.',
        queries: [['pushed a minute', 'sum(rate(postworks_relay_pushed_total[$__rate_interval])) * 60'], ['lag in seconds', 'max(postworks_relay_lag_seconds)']],
        runbook: 'redis.md#postworksrelaylags',
      }),
    ]],
    ['PostgreSQL', [
      lines({
        title: 'Time of queries, p99 by class',
        says: 'enqueue and settle are commits: they wait for the disk. read alone slow: a list without an index, or old statistics. All slow: the disk, locks, or too many clients.',
        queries: [['{{class}}', quantile(0.99, 'postworks_db_query_seconds', 'class')]],
        unit: 's',
        limits: { warn: 0.3, bad: 0.5 },
        runbook: SLOW,
      }),
      lines({
        title: 'Queries, by class',
        says: 'Calls of the ledger a second. Reads that rise alone: somebody lists in a loop; chores that rise: much has ended at once.',
        queries: [['{{class}}', 'sum by (class) (rate(postworks_db_query_seconds_count[$__rate_interval]))']],
        unit: 'ops',
        stack: true,
        runbook: SLOW,
      }),
      lines({
        title: 'Connections in use, by process',
        says: 'Of those that the process may have. Near 1: raise ledger.pool_size, or lower worker.concurrency.',
        queries: [['{{instance}}', 'sum by (role, instance) (postworks_db_pool_connections{state="busy"}) / on (role, instance) postworks_db_pool_max']],
        unit: 'percentunit',
        max: 1,
        limits: { warn: 0.8, bad: 0.95 },
        runbook: POOL,
      }),
      lines({
        title: 'Wait for a connection, p99',
        says: 'How long a query waited before it was sent at all. From two seconds on the database counts as away.',
        queries: [['{{role}}', quantile(0.99, 'postworks_db_acquire_seconds', 'role')]],
        unit: 's',
        limits: { warn: 0.1, bad: 0.5 },
        runbook: POOL,
      }),
      lines({
        title: 'Connections of all processes',
        says: 'The server allows 100, usually; keep the sum of all pools\' sizes below 90.',
        queries: [
          ['{{state}}', 'sum by (state) (postworks_db_pool_connections)'],
          ['allowed to all', 'sum(postworks_db_pool_max)'],
        ],
        runbook: POOL,
      }),
      lines({
        title: 'Queries that failed',
        says: 'A minute, by class. Verdicts wait in memory meanwhile, with their leases renewed.',
        queries: [['{{class}}', 'sum by (class) (rate(postworks_db_errors_total[$__rate_interval])) * 60']],
        unit: 'cpm',
        stack: true,
        runbook: 'redis.md#postworksstoresfail',
      }),
    ]],
  ],
})
