// What the runner tells these programs and what they answer: JSON, a line each (see src/protocol.rs).
import { createInterface } from 'node:readline';

export const setup = JSON.parse(process.argv[2]);
export const QUEUE = 'bench';
export const KINDS = ['bench_post', 'bench_sync', 'bench_cleanup', 'bench_refresh'];
export const connection = { path: setup.redis, maxRetriesPerRequest: null };

const PADDING =
  '0198f3a0-0000-7000-8000-000000000001 0198f3a0-0000-7000-8000-000000000002 ' +
  '0198f3a0-0000-7000-8000-000000000003 0198f3a0-0000-7000-8000-000000000004.';
const FIRST = 100_000;
const MIX = [8, 7, 4, 1];

// Microseconds of the clock that both processes share.
export const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

export const args = (at) => ({ sent_us: nowUs(), n: FIRST + at, padding: PADDING });

export function kindOf(at) {
  let place = (at * 7) % 20;
  for (const [kind, share] of MIX.entries()) {
    if (place < share) return KINDS[kind];
    place -= share;
  }
  return KINDS[0];
}

export const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

// Calls `follow` with one order after the other. When the runner is gone, so is this process.
export function follow(follow) {
  const orders = createInterface({ input: process.stdin });
  let before = Promise.resolve();
  orders.on('line', (line) => {
    before = before.then(() => follow(JSON.parse(line))).catch((error) => {
      console.error(error);
      process.exit(1);
    });
  });
  orders.on('close', () => process.exit(0));
  say({ event: 'ready' });
}
