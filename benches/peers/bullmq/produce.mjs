// The process that enqueues.
import { Queue } from 'bullmq';
import { args, connection, follow, kindOf, KINDS, QUEUE, say } from './link.mjs';

const queue = new Queue(QUEUE, { connection });
await queue.waitUntilReady();

async function single({ jobs, in_flight }) {
  let next = 0;
  const caller = async () => {
    while (next < jobs) await queue.add(KINDS[0], args(next++));
  };
  await Promise.all(Array.from({ length: in_flight }, caller));
}

async function bulk({ jobs, call }) {
  for (let from = 0; from < jobs; from += call) {
    const length = Math.min(call, jobs - from);
    await queue.addBulk(Array.from({ length }, (_, at) => ({ name: KINDS[0], data: args(from + at) })));
  }
}

async function pace({ rate, jobs, mixed }) {
  const start = performance.now();
  const sending = [];
  while (sending.length < jobs) {
    const due = Math.min(jobs, Math.floor(((performance.now() - start) * rate) / 1000) + 1);
    while (sending.length < due) {
      const at = sending.length;
      sending.push(queue.add(mixed ? kindOf(at) : KINDS[0], args(at)));
    }
    if (sending.length < jobs) await new Promise((due) => setTimeout(due, 1));
  }
  await Promise.all(sending);
}

const ways = { single, bulk, pace };
follow(async (order) => {
  const start = performance.now();
  await ways[order.do](order);
  say({ event: 'done', seconds: (performance.now() - start) / 1000 });
});
