import { defineConfig } from '@playwright/test'
import { existsSync } from 'node:fs'

// The build without windows takes half the time of the processor: most of a test's time is Chromium's.
const installed = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find(existsSync)

// Debian's Chromium, as root in a container or CI: it can't use its own sandbox there. Without the
// background networking switches it looks up its vendor's hosts at every start.
export const chromium = {
  executablePath: process.env.CHROMIUM ?? installed,
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
    // As long as an expectation: a click on what does not come ends here, and says what it waited for.
    actionTimeout: 60_000,
    launchOptions: chromium,
    viewport: { width: 1440, height: 900 },
    // A recording of every step costs as much as the steps: `TRACE=1 npx playwright test …` makes one.
    trace: process.env.TRACE ? 'retain-on-failure' : 'off',
    screenshot: 'only-on-failure',
  },
})
