// Measures the page in a real Chromium, for `cargo xtask bench`: reads one job as JSON from standard input and answers
// with JSON. Times are in milliseconds.

import { text } from 'node:stream/consumers'
import { chromium } from 'playwright-core'

/** A line of the first changed file. */
const FIRST_LINE = 'section.change[data-file] [data-no]'
/** How long a flood is watched, in each round. */
const FLOOD_MS = 3_000
/** How long an answer may take that reads as the one before it. */
const SAME_MS = 2_000
/** Keys of a round. */
const KEYS = 15

const job = JSON.parse(await text(process.stdin))
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-3d-apis', '--disable-component-update', '--disable-sync'],
})
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  await page.goto(job.login)
  await page.waitForURL(/\/(new)?$/)
  const jobs = { reload, changes, flood, files, create }
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

/**
 * From the click on the panel's button until lines of the first file are painted; the page has the list by then. And
 * with the panel open in a page that is loaded, from the moment that it asks for the list.
 */
async function changes(page) {
  const paints = []
  const listed = []
  await page.addInitScript((first) => {
    window.painted = (began) => new Promise((resolve) => {
      const look = () => {
        if (!document.querySelector(first)) return requestAnimationFrame(look)
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began())))
      }
      requestAnimationFrame(look)
    })
    const { fetch } = window
    window.fetch = (address, options) => {
      if (/\/changes\?/.test(String(address.url ?? address))) window.asked ??= performance.now()
      return fetch(address, options)
    }
  }, FIRST_LINE)
  for (let round = 0; round < job.rounds; round++) {
    await page.goto(job.url)
    const button = page.getByRole('button', { name: /^Changes/ }).and(page.locator(':not([disabled])'))
    await button.waitFor()
    await page.waitForLoadState('networkidle')
    paints.push(await button.evaluate((element, first) => {
      if (document.querySelector(first)) element.click()
      const began = performance.now()
      element.click()
      return window.painted(() => began)
    }, FIRST_LINE))
    await page.goto('about:blank')
    await page.goto(`${job.url}?scope=uncommitted`)
    listed.push(await page.evaluate(() => window.painted(() => window.asked)))
    // Closed again: the page remembers it.
    await button.click()
  }
  return { paints, listed }
}

/**
 * A program that prints all it can in one terminal: what the page takes of it, how long it stands still between two
 * frames, and from a key in the message, and in another terminal, until it is seen.
 */
async function flood(page) {
  await page.addInitScript(() => {
    window.heard = 0
    window.WebSocket = class extends WebSocket {
      constructor(...address) {
        super(...address)
        this.addEventListener('message', ({ data }) => { window.heard += data.byteLength ?? 0 })
      }
    }
  })
  await page.goto(job.url)
  const composer = page.getByRole('textbox', { name: 'Message', exact: true })
  const keyboard = page.getByRole('tabpanel').locator('.xterm-helper-textarea')
  await composer.waitFor()
  await page.keyboard.press('Control+j')
  await keyboard.focus()
  await page.keyboard.type(`${job.flood}\n`)
  await page.waitForFunction(() => window.heard > 10_000_000)

  const rates = []
  const frames = []
  const keys = []
  const inComposer = []
  for (let round = 0; round < job.rounds; round++) {
    const seen = await page.evaluate((limit) => new Promise((resolve) => {
      const began = performance.now()
      const from = window.heard
      const gaps = []
      const frame = (last) => requestAnimationFrame((now) => {
        gaps.push(now - last)
        const took = performance.now() - began
        if (took < limit) return frame(now)
        resolve({ rate: (window.heard - from) / 1e3 / took, gaps: gaps.slice(1) })
      })
      frame(began)
    }), FLOOD_MS)
    rates.push(seen.rate)
    frames.push(...seen.gaps)
    await composer.focus()
    inComposer.push(...await typed(page, () => document.querySelector('textarea[aria-label="Message"]').value))
  }
  const tabs = page.getByRole('tablist', { name: 'Terminals' }).getByRole('tab')
  const before = await tabs.count()
  await page.keyboard.press('Control+Shift+Backquote')
  // The keys are for the new one, which may take a moment to come into view.
  await tabs.nth(before).and(page.locator('[aria-selected=true]')).waitFor()
  await page.getByRole('tabpanel').locator('.xterm-rows', { hasText: '#' }).waitFor()
  await keyboard.focus()
  await page.keyboard.type('cat > /dev/null\n')
  for (let round = 0; round < job.rounds; round++) {
    keys.push(...await typed(page, () => [...document.querySelectorAll('.xterm-rows')].find((rows) => rows.checkVisibility())?.textContent ?? ''))
  }
  return { rates, frames, keys, composer: inComposer }
}

/** From each of some keys until what `text` answers holds it and is painted. */
async function typed(page, text) {
  const times = []
  for (let key = 0; key < KEYS; key++) {
    const seen = page.evaluate((text) => new Promise((resolve) => {
      const read = new Function(`return (${text})()`)
      const count = () => read().split('z').length
      const before = count()
      window.listens = true
      addEventListener('keydown', ({ timeStamp }) => {
        const look = () => {
          if (count() === before) return requestAnimationFrame(look)
          requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - timeStamp)))
        }
        requestAnimationFrame(look)
      }, { capture: true, once: true })
    }), text.toString())
    await page.waitForFunction(() => window.listens)
    await page.keyboard.press('z')
    times.push(await seen)
    await page.evaluate(() => { window.listens = false })
  }
  return times
}

/**
 * From the key that creates a session until its page takes text; a key is then typed into it.
 */
async function create(page) {
  const rounds = []
  for (let round = 0; round < job.rounds; round++) {
    await page.goto(job.url)
    const task = page.getByRole('textbox', { name: /task/i })
    await task.fill(`say: ${round}`)
    await page.waitForLoadState('networkidle')
    await page.evaluate(() => {
      window.typing = new Promise((resolve) => addEventListener('keydown', ({ timeStamp }) => {
        const look = () => {
          const box = document.querySelector('textarea[aria-label="Message"]')
          const isThere = location.pathname.startsWith('/s/') && box && !box.disabled && !box.readOnly
          if (!isThere) return requestAnimationFrame(look)
          requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - timeStamp)))
        }
        requestAnimationFrame(look)
      }, { capture: true, once: true }))
    })
    await task.press('Enter')
    rounds.push(await page.evaluate(() => window.typing))
    const composer = page.getByRole('textbox', { name: 'Message', exact: true })
    await composer.press('z')
    if (await composer.inputValue() !== 'z') throw new Error('what is typed is not in the message')
    // A page with unsent words may ask before it goes.
    await composer.fill('')
  }
  return { rounds }
}

/**
 * From each letter of a search for files until its answer is painted: the first one of a page that was just loaded, and
 * those after it.
 */
async function files(page) {
  const first = []
  const rest = []
  for (let round = 0; round < job.rounds; round++) {
    await page.goto(job.url)
    const composer = page.getByRole('textbox', { name: 'Message', exact: true })
    await composer.waitFor()
    await page.waitForLoadState('networkidle')
    await composer.focus()
    for (const [at, letter] of [...job.search].entries()) {
      const seen = page.evaluate((SAME_MS) => new Promise((resolve) => {
        window.listens = true
        addEventListener('keydown', ({ timeStamp }) => {
          const said = () => document.querySelector('.completions [role=status]')?.textContent
          const before = said()
          const look = () => {
            const now = said()
            // An answer that reads as the one before it is not told from it, and counts for nothing.
            if (performance.now() - timeStamp > SAME_MS) return resolve(undefined)
            if (!now || now === before || now === 'Searching…') return requestAnimationFrame(look)
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - timeStamp)))
          }
          requestAnimationFrame(look)
        }, { capture: true, once: true })
      }), SAME_MS)
      await page.waitForFunction(() => window.listens)
      await page.keyboard.type(letter)
      const took = await seen
      await page.evaluate(() => { window.listens = false })
      if (took === undefined) continue
      if (at === 0) first.push(took)
      else rest.push(took)
    }
    await composer.fill('')
  }
  return { first, rest }
}
