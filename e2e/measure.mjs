// Measures the page in a real Chromium, for `cargo xtask bench`: reads one job as JSON from standard input and answers
// with JSON. Times are in milliseconds.

import { text } from 'node:stream/consumers'
import { chromium } from 'playwright-core'

const job = JSON.parse(await text(process.stdin))
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  await page.goto(job.login)
  await page.waitForURL(/\/(new)?$/)
  const jobs = { reload, changes }
  console.log(JSON.stringify(await jobs[job.job](page)))
} finally {
  await browser.close()
}

/**
 * From the navigation's begin until the last message is seen, the composer takes text, and no task blocks the page any
 * more. The tasks that blocked it are what it took of a person's patience beyond the network.
 */
async function reload(page) {
  await page.addInitScript((last) => {
    const long = []
    new PerformanceObserver((list) => long.push(...list.getEntries())).observe({ type: 'longtask', buffered: true })
    const isThere = () => {
      const box = document.querySelector('textarea[aria-label="Message"]')
      return box && !box.disabled && document.querySelector('[role=log]')?.textContent.includes(last)
    }
    const settle = (there) => {
      const end = Math.max(there, ...long.map((task) => task.startTime + task.duration))
      window.measured = { interactive: end, blocked: long.reduce((sum, task) => sum + task.duration, 0) }
    }
    const look = () => {
      if (!isThere()) return requestAnimationFrame(look)
      // Painted, and the next task has its turn. What blocks the page after it counts too.
      requestAnimationFrame(() => setTimeout(() => {
        const there = performance.now()
        setTimeout(() => settle(there), 700)
      }))
    }
    requestAnimationFrame(look)
  }, job.last)
  const measured = async () => (await page.waitForFunction(() => window.measured, undefined, { timeout: 60_000 })).jsonValue()

  await page.goto(job.url)
  const first = await measured()
  const rounds = []
  for (let round = 0; round < job.rounds; round++) {
    await page.reload()
    rounds.push(await measured())
  }
  return {
    first: first.interactive,
    rounds: rounds.map((round) => round.interactive),
    long_tasks: rounds.map((round) => round.blocked),
  }
}

/** From the click on the panel's button until the first file's name and lines are painted. */
async function changes(page) {
  const paints = []
  for (let round = 0; round < job.rounds; round++) {
    await page.goto(job.url)
    const button = page.getByRole('button', { name: /^Changes/ }).and(page.locator(':not([disabled])'))
    await button.waitFor()
    await page.waitForLoadState('networkidle')
    paints.push(await button.evaluate((element) => new Promise((resolve) => {
      const panel = () => document.querySelector('section.change[data-file]')
      if (panel()) element.click()
      const began = performance.now()
      element.click()
      const look = () => {
        if (!panel()) return requestAnimationFrame(look)
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)))
      }
      requestAnimationFrame(look)
    })))
  }
  return { paints }
}
