import { defineConfig } from '@playwright/test'

// Debian's Chromium, as root in a container or CI: it can't use its own sandbox there. Without the
// background networking switches it looks up its vendor's hosts at every start.
export const chromium = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    // Without WebGL the terminal draws DOM rows, whose text a test can read.
    '--disable-3d-apis',
  ],
}

export default defineConfig({
  testDir: 'tests',
  outputDir: 'output',
  // Two cores: two servers with their agents at once are enough.
  workers: 2,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  // Only a hang ends here, also on a machine that is slow or busy.
  timeout: 240_000,
  expect: { timeout: 60_000 },
  reporter: [['list']],
  use: {
    launchOptions: chromium,
    viewport: { width: 1440, height: 900 },
    trace: 'retain-on-failure',
    screenshot: 'only-on-failure',
  },
})
