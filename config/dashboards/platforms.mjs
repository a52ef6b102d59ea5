import { dashboard, figure, lines } from './panels.mjs'

const OF_QUEUE = 'queue=~"$queue"'
const REQUESTS = 'postworks_platform_request_seconds'
const OF_PLATFORM = 'platform=~"$platform"'
const BREAKER = 'platforms.md#postworksbreakeropen'
const POSITIONS = [{
  type: 'value',
  options: {
    0: { index: 0, text: 'closed', color: 'green' },
    1: { index: 1, text: 'trying', color: 'orange' },
    2: { index: 2, text: 'open', color: 'red' },
  },
}]
const quantile = (q, by) =>
  `histogram_quantile(${q}, sum by (le, ${by}) (rate(${REQUESTS}_bucket{${OF_PLATFORM}}[$__rate_interval])))`

export default dashboard({
  uid: 'platforms',
  title: 'Platforms and breakers',
  says: 'How the platforms do, what keeps us from calling them, and what we do not know of our calls.',
  variables: ['platform', 'queue'],
  rows: [
    ['Now', [
      figure({
        title: 'Breakers not closed',
        says: 'Queues from which nothing is claimed, because half of the calls failed or were slow. It mends itself once the platform does.',
        queries: [['', 'count(max by (breaker) (postworks_breaker_state) > 0) or vector(0)']],
        limits: { warn: 1, bad: 3 },
        runbook: BREAKER,
      }),
      figure({
        title: 'Calls that fail',
        says: 'The share of calls within five minutes that were not answered well. Wrong requests and revoked accounts count here too; the breakers look at the platform\'s health alone.',
        queries: [['', `sum(rate(${REQUESTS}_count{class!="ok",${OF_PLATFORM}}[5m])) / clamp_min(sum(rate(${REQUESTS}_count{${OF_PLATFORM}}[5m])), 1e-9)`]],
        unit: 'percentunit',
        limits: { warn: 0.05, bad: 0.2 },
        runbook: BREAKER,
      }),
      figure({
        title: 'Queues kept shut',
        says: 'Queues that wait for a platform\'s window: it said when it wants to be asked again.',
        queries: [['', `count(max by (queue) (postworks_queue_window_seconds{${OF_QUEUE}}) > 0) or vector(0)`]],
        limits: { warn: 1, bad: 3 },
        runbook: BREAKER,
      }),
      figure({
        title: 'Connections reused',
        says: 'Of the calls, the share that found a connection open. Low: each call pays for a handshake, or the platform closes connections.',
        queries: [['', `clamp_min(1 - sum(rate(postworks_platform_connections_total{${OF_PLATFORM}}[5m])) / clamp_min(sum(rate(${REQUESTS}_count{${OF_PLATFORM}}[5m])), 1e-9), 0)`]],
        unit: 'percentunit',
        max: 1,
        limits: { bad: 0.5, warn: 0.9, low: true },
        runbook: BREAKER,
      }),
      figure({
        title: 'Unknown outcomes',
        says: 'Publications that may be out and that a person must look up.',
        queries: [['', 'max(postworks_effects{state="needs_person"})']],
        limits: { warn: 1, bad: 20 },
        runbook: 'platforms.md#postworkseffectsunknown',
      }),
      figure({
        title: 'Accounts to reconnect',
        says: 'Accounts whose grant was taken back; their jobs are parked.',
        queries: [['', 'sum(max by (platform) (postworks_accounts{state="needs_reauth"}))']],
        limits: { warn: 1, bad: 50 },
        runbook: 'platforms.md#postworksaccountsneedreauth',
      }),
    ]],
    ['Breakers', [
      lines({
        title: 'Breakers',
        says: '0 closed, 1 trying, 2 open. All of one platform open: the platform is down. One kind alone: one of its endpoints.',
        queries: [['{{breaker}}', 'max by (breaker) (postworks_breaker_state)']],
        steps: true,
        max: 2,
        decimals: 0,
        mappings: POSITIONS,
        runbook: BREAKER,
      }),
      lines({
        title: 'How often breakers opened',
        says: 'In five minutes. A breaker that opens again and again: the platform answers some calls and fails others, or is not well yet.',
        queries: [['{{breaker}}', 'sum by (breaker) (increase(postworks_breaker_transitions_total{to="open"}[5m]))']],
        runbook: BREAKER,
      }),
    ]],
    ['Calls', [
      lines({
        title: 'Calls, by platform and operation',
        says: 'Requests a second. A line that fell to 0 while jobs are due: a breaker, a window, a pause, or no worker.',
        queries: [['{{platform}} {{operation}}', `sum by (platform, operation) (rate(${REQUESTS}_count{${OF_PLATFORM}}[$__rate_interval]))`]],
        unit: 'reqps',
        stack: true,
        runbook: BREAKER,
      }),
      lines({
        title: 'Answers, by class',
        says: 'What the calls ended in. transient, unavailable: the platform. unknown: no answer came, so the post may be out. rate_limited: we ask too often; set a quota. auth_*: grants. invalid: what we send.',
        queries: [['{{class}}', `sum by (class) (rate(${REQUESTS}_count{${OF_PLATFORM}}[$__rate_interval]))`]],
        unit: 'reqps',
        stack: true,
        runbook: BREAKER,
      }),
      lines({
        title: 'Time to an answer, p50 by platform',
        says: 'The usual call.',
        queries: [['{{platform}}', quantile(0.5, 'platform')]],
        unit: 's',
        runbook: BREAKER,
      }),
      lines({
        title: 'Time to an answer, p99 by platform',
        says: 'The slow ones. From 10 s on a call counts as failed for the breaker.',
        queries: [['{{platform}}', quantile(0.99, 'platform')]],
        unit: 's',
        limits: { bad: 10 },
        runbook: BREAKER,
      }),
      lines({
        title: 'Windows that platforms asked for',
        says: 'How long a queue is still kept shut because its platform said so. A saw that never ends: we use the window up each time; set a quota.',
        queries: [['{{queue}}', `max by (queue) (postworks_queue_window_seconds{${OF_QUEUE}})`]],
        unit: 's',
        runbook: BREAKER,
      }),
      lines({
        title: 'Connections opened',
        says: 'A second, by platform. As many as calls: none is reused.',
        queries: [['{{platform}}', `sum by (platform) (rate(postworks_platform_connections_total{${OF_PLATFORM}}[$__rate_interval]))`]],
        unit: 'ops',
        runbook: BREAKER,
      }),
    ]],
    ['Accounts and outcomes', [
      lines({
        title: 'Token refreshes, by reason and outcome',
        says: 'on_demand is for new accounts; else a job waited for it. refused: the platform took the grant back. failed: it could not be asked. lost: no answer came; the account may need to be connected again.',
        queries: [['{{platform}} {{reason}} {{outcome}}', `sum by (platform, reason, outcome) (rate(postworks_token_refreshes_total{${OF_PLATFORM}}[$__rate_interval])) * 60`]],
        unit: 'cpm',
        runbook: 'platforms.md#postworksaccountsneedreauth',
      }),
      lines({
        title: 'Accounts, by state',
        says: 'needs_reauth that jumps for one platform: our app lost its standing there, or its secret was changed.',
        queries: [['{{platform}} {{state}}', `max by (platform, state) (postworks_accounts{${OF_PLATFORM}})`]],
        runbook: 'platforms.md#postworksaccountsneedreauth',
      }),
      lines({
        title: 'Tokens that are late',
        says: 'They end soon, or have ended, and nobody has renewed them: the queue of the refreshes is held back, or they fail.',
        queries: [['{{platform}}', `max by (platform) (postworks_tokens_late{${OF_PLATFORM}})`]],
        runbook: 'platforms.md#postworkstokenslate',
      }),
      lines({
        title: 'Accounts to synchronise that are late',
        says: 'Due for five minutes and more, and nobody has made the job: no worker runs, or none reaches the ledger.',
        queries: [['{{platform}}', `max by (platform) (postworks_syncs_late{${OF_PLATFORM}})`]],
        runbook: 'platforms.md#postworkssyncslate',
      }),
      lines({
        title: 'Effects, by state',
        says: 'under_way: requests that have left. unsure: asked again, or looked up, by the product. needs_person: nobody but a person can tell.',
        queries: [['{{state}}', 'max by (state) (postworks_effects)']],
        runbook: 'platforms.md#postworkseffectsunknown',
      }),
    ]],
  ],
})
