const DEFAULTS = {
  attempts: 5,
  firstDelayMs: 100,
  maxDelayMs: 10_000,
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  shouldRetry: () => true,
};

/**
 * The delay before the given retry, in milliseconds. The first retry waits
 * `firstDelayMs`, each further one twice as long as the one before, and none
 * longer than `maxDelayMs`.
 *
 * @param {number} retry counts from 1
 * @param {{ firstDelayMs?: number, maxDelayMs?: number }} [options]
 */
export function backoffDelay(retry, options = {}) {
  const { firstDelayMs, maxDelayMs } = { ...DEFAULTS, ...options };
  return Math.min(firstDelayMs * 2 ** retry, maxDelayMs);
}

/**
 * Calls `operation` until it succeeds, at most `attempts` times, and waits
 * between the calls. Rejects with the last error when every attempt failed,
 * and at once when `shouldRetry` says that an error is final.
 *
 * @template T
 * @param {(attempt: number) => Promise<T> | T} operation
 * @param {object} [options]
 * @returns {Promise<T>}
 */
export async function retry(operation, options = {}) {
  const settings = { ...DEFAULTS, ...options };
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation(attempt);
    } catch (error) {
      if (attempt >= settings.attempts || !settings.shouldRetry(error)) {
        throw error;
      }
      await settings.sleep(backoffDelay(attempt, settings));
    }
  }
}
