import assert from 'node:assert/strict';
import { test } from 'node:test';

import { backoffDelay, retry } from '../src/retry.js';

/** An operation that fails the given number of times before it answers. */
function flaky(failures) {
  const operation = async (attempt) => {
    operation.calls += 1;
    if (attempt <= failures) throw new Error(`attempt ${attempt} failed`);
    return 'answer';
  };
  operation.calls = 0;
  return operation;
}

/** A clock that only writes down how long it was asked to wait. */
function recordedSleep() {
  const waits = [];
  return { waits, sleep: async (ms) => void waits.push(ms) };
}

test('answers without waiting when the first attempt succeeds', async () => {
  const { waits, sleep } = recordedSleep();
  assert.equal(await retry(flaky(0), { sleep }), 'answer');
  assert.deepEqual(waits, []);
});

test('stops after the given number of attempts', async () => {
  const operation = flaky(Infinity);
  await assert.rejects(retry(operation, { attempts: 3, ...recordedSleep() }), /attempt 3 failed/);
  assert.equal(operation.calls, 3);
});

test('does not retry an error that is final', async () => {
  const operation = flaky(Infinity);
  await assert.rejects(retry(operation, { shouldRetry: () => false }), /attempt 1 failed/);
  assert.equal(operation.calls, 1);
});

test('waits twice as long before each further attempt', async () => {
  const { waits, sleep } = recordedSleep();
  await retry(flaky(3), { firstDelayMs: 100, sleep });
  assert.deepEqual(waits, [100, 200, 400]);
});

test('never waits longer than the maximum', () => {
  assert.equal(backoffDelay(12, { firstDelayMs: 100, maxDelayMs: 2_000 }), 2_000);
});
