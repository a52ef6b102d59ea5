import { dashboard, figure, lines, table, words } from './panels.mjs'

const OF_QUEUE = '{queue=~"$queue"}'
const GROW = 'dead-letters.md#postworksdeadlettersgrow'
// One process of the fleet collects; max keeps a moment with two of them from counting double.
const LETTERS = `max by (queue, category) (postworks_dlq_jobs${OF_QUEUE})`
const DIED = `rate(postworks_dead_lettered_total${OF_QUEUE}[$__rate_interval])`

export default dashboard({
  uid: 'dead-letters',
  title: 'Dead letters',
  says: 'Jobs that need a person: how many, how fast, why, since when, and what is done about them.',
  variables: ['queue'],
  rows: [
    ['Now', [
      figure({
        title: 'Dead letters',
        says: 'Jobs that wait for a person. Any number is work for somebody; a number that only rises is work that nobody does.',
        queries: [['', `sum(${LETTERS})`]],
        limits: { warn: 1, bad: 1000 },
        runbook: GROW,
      }),
      figure({
        title: 'New a minute',
        says: 'Jobs that died within the last two minutes, a minute. Above 10 something is broken; above 100 it is broken for everybody.',
        queries: [['', `sum(rate(postworks_dead_lettered_total${OF_QUEUE}[2m])) * 60`]],
        unit: 'cpm',
        limits: { warn: 10, bad: 100 },
        decimals: 1,
        runbook: GROW,
      }),
      figure({
        title: 'Oldest',
        says: 'How long the oldest dead letter has waited. More than a day: nobody looks.',
        queries: [['', `max(postworks_dlq_oldest_age_seconds${OF_QUEUE})`]],
        unit: 's',
        limits: { warn: 86_400, bad: 259_200 },
        runbook: 'dead-letters.md#postworksdeadlettersold',
      }),
      figure({
        title: 'Failure rate',
        says: 'Of the jobs that ended within five minutes, the share that died. What was put off or cancelled is no failure and is not counted.',
        queries: [['', `sum(rate(postworks_job_attempts_total{outcome="dead",queue=~"$queue"}[5m]))
          / clamp_min(sum(rate(postworks_job_attempts_total{outcome=~"dead|completed",queue=~"$queue"}[5m])), 1e-9)`]],
        unit: 'percentunit',
        limits: { warn: 0.01, bad: 0.05 },
        runbook: 'dead-letters.md#postworksjobsfail',
      }),
      figure({
        title: 'Unknown outcomes',
        says: 'Publications that may be out, which nobody knows, and which only a person can find out. Each is a customer who may see a post missing, or twice.',
        queries: [['', 'max(postworks_effects{state="needs_person"})']],
        limits: { warn: 1, bad: 20 },
        runbook: 'platforms.md#postworkseffectsunknown',
      }),
      figure({
        title: 'Accounts to reconnect',
        says: 'Accounts whose grant was taken back. Their jobs are parked, not dead, until their owners connect them again.',
        queries: [['', 'sum(max by (platform) (postworks_accounts{state="needs_reauth"}))']],
        limits: { warn: 1, bad: 50 },
        runbook: 'platforms.md#postworksaccountsneedreauth',
      }),
    ]],
    ['Growth', [
      lines({
        title: 'Died, by category',
        says: 'Jobs that died, a minute. One category: one cause, most likely. platform_api or timeout: a platform. auth: our app or its secret. invalid or bug: a producer or a release of ours.',
        queries: [['{{category}}', `sum by (category) (${DIED}) * 60`]],
        unit: 'cpm',
        stack: true,
        limits: { warn: 10, bad: 100 },
        runbook: GROW,
      }),
      lines({
        title: 'Dead letters, by category',
        says: 'What lies there. Steps down are somebody who works on them; a staircase that only goes up is a backlog that nobody owns.',
        queries: [['{{category}}', `sum by (category) (${LETTERS})`]],
        stack: true,
        runbook: GROW,
      }),
      lines({
        title: 'Oldest, by queue',
        says: 'A line that rises by a second a second has an oldest letter that nobody touches.',
        queries: [['{{queue}}', `max by (queue) (postworks_dlq_oldest_age_seconds${OF_QUEUE})`]],
        unit: 's',
        limits: { warn: 86_400, bad: 259_200 },
        runbook: 'dead-letters.md#postworksdeadlettersold',
      }),
      lines({
        title: 'What people did',
        says: 'Jobs put back, discarded and exported, a minute. Jobs that are put back and die again show on the left a moment later: stop, and look at their cause first.',
        queries: [['{{action}}', 'sum by (action) (rate(postworks_dlq_actions_total[$__rate_interval])) * 60']],
        unit: 'cpm',
        runbook: GROW,
      }),
    ]],
    ['Where, and why', [
      table({
        title: 'Most letters',
        says: 'The ten queues and categories with the most dead letters, and how long the oldest of each has waited.',
        queries: [
          ['', `topk(10, ${LETTERS} > 0)`],
          ['', `max by (queue, category) (postworks_dlq_oldest_age_seconds${OF_QUEUE} > 0)`],
        ],
        columns: { queue: 'Queue', category: 'Category', 'Value #A': 'Letters', 'Value #B': 'Oldest (s)' },
        runbook: GROW,
        height: 10,
      }),
      words({
        title: 'From here',
        height: 10,
        text: `
Causes, with their words, are too many for metrics. Ask for them:

\`\`\`
postworks dlq groups
postworks dlq groups --filter queue=post_publication.bluesky --filter died_after=2h
postworks dlq show ID
\`\`\`

Once the cause is gone, put back a few, and go on only if they do not die again:

\`\`\`
postworks dlq retry --filter fingerprint=4f1c22aa90b3d7e1 --canary 10 --rate 50
\`\`\`

[Runbook](\${runbooks}/dead-letters.md) · the same over HTTP: \`GET /api/dlq/groups\`, \`POST /api/dlq/retry\``,
      }),
      lines({
        title: 'Retries, by how they ended',
        says: 'Attempts after the first. Retries that complete are outages that nobody noticed; retries that only lead to more retries are tomorrow\'s dead letters.',
        queries: [['{{outcome}}', `sum by (outcome) (rate(postworks_job_retries_total${OF_QUEUE}[$__rate_interval]))`]],
        unit: 'ops',
        stack: true,
        width: 24,
        runbook: 'dead-letters.md#postworksjobsfail',
      }),
    ]],
  ],
})
