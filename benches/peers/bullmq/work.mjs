// The process that works.
import { Worker } from 'bullmq';
import { connection, follow, nowUs, QUEUE, say, setup } from './link.mjs';

let first, started = 0, ended = 0;
const latencies_us = [];

async function handle({ data }) {
  first ??= performance.now();
  started += 1;
  if (setup.latencies && started <= setup.jobs) latencies_us.push(Math.max(0, nowUs() - data.sent_us));
  if (setup.journal) say({ event: 'started', job: data.n });
  if (setup.sleep_ms) await new Promise((over) => setTimeout(over, setup.sleep_ms));
  if (setup.journal) say({ event: 'finished', job: data.n });
  ended += 1;
  if (ended === setup.jobs) say({ event: 'all', seconds: (performance.now() - first) / 1000, latencies_us });
}

const worker = new Worker(QUEUE, handle, { connection, concurrency: setup.concurrency, autorun: false });
worker.on('error', (error) => console.error(error));
await worker.waitUntilReady();
follow(async () => void worker.run());
