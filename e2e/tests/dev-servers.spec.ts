// Previews with the development servers that people use, each as it comes: none is told about us.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { bring, HOME, isTold, openPort, processes, processList, run, source, write } from '../apps.ts'
import { newSession } from '../session.ts'
import { expect, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' } })

async function session(page: Page) {
  const id = await newSession(page, 'say: hello')
  await expect(page.getByRole('button', { name: 'Status: Ready' })).toBeVisible()
  return id
}

/** Remembers that this page was here: a page that is loaded anew has forgotten it. */
async function mark(page: Page) {
  await page.evaluate(() => Object.assign(window, { marked: true }))
}

function marked(page: Page) {
  return page.evaluate(() => 'marked' in window)
}

test('Vite: hot updates keep the state, and the error overlay comes and goes', async ({ signedIn: page, server }) => {
  const id = await session(page)
  await bring(server, id, 'vite')
  await run(page, `cd ${HOME}/vite && npm run dev`)
  await expect(processes(page)).toContainText('1')
  const list = await processList(page)
  await expect(list).toContainText(/vite/)
  await expect(list).toContainText(/pid \d+/)

  const app = await openPort(page, 5173)
  const told = isTold(app, /\/\?token=/, '"connected"')
  await expect(app.getByRole('heading', { name: 'Hello from Vite' })).toBeVisible()
  const counter = app.getByRole('button')
  await counter.click()
  await counter.click()
  await expect(counter).toHaveText('Clicked 2 times')
  await mark(app)
  await told

  const file = `${HOME}/vite/src/App.jsx`
  const text = source('vite', 'src/App.jsx')
  write(server, id, file, text.replace('Hello from Vite', 'Hello again'))
  await expect(app.getByRole('heading', { name: 'Hello again' })).toBeVisible()
  await expect(counter).toHaveText('Clicked 2 times')

  write(server, id, file, text.replace('<main>', '<main'))
  const overlay = app.locator('vite-error-overlay')
  await expect(overlay).toContainText('App.jsx')
  write(server, id, file, text.replace('Hello from Vite', 'Mended'))
  await expect(overlay).toHaveCount(0)
  await expect(app.getByRole('heading', { name: 'Mended' })).toBeVisible()

  write(server, id, `${HOME}/vite/src/style.css`, 'main { font-size: 40px }')
  await expect(app.getByRole('main')).toHaveCSS('font-size', '40px')
  expect(await marked(app)).toBe(true)
})

test('Next.js: fast refresh, a server action, an API route, redirects and images', async ({ signedIn: page, server }) => {
  test.slow()
  const id = await session(page)
  await bring(server, id, 'next')
  await run(page, `cd ${HOME}/next && NEXT_TELEMETRY_DISABLED=1 npm run dev`)
  await expect(processes(page)).toContainText('1')
  const app = await openPort(page, 3000)
  const told = isTold(app, /_next\/hmr/, '"sync"')
  const origin = new URL(app.url()).origin
  await expect(app.getByRole('heading', { name: 'Hello from Next' })).toBeVisible()

  const counter = app.getByRole('button', { name: /^Clicked/ })
  // What is there before its script is, is only a picture of a button.
  await expect(async () => {
    await counter.click()
    await expect(counter).not.toHaveText('Clicked 0 times', { timeout: 500 })
  }).toPass()
  const clicked = (await counter.innerText()).match(/\d+/)![0]
  await mark(app)
  await told
  // Next tells a page what changed after it has computed what the page shows, and nothing says when that is:
  // what is saved before is never told, so one saves again.
  let saved = 0
  await expect(async () => {
    saved++
    const words = source('next', 'app/counter.jsx').replace('Clicked {count}', `Clicked, save ${saved}, {count}`)
    write(server, id, `${HOME}/next/app/counter.jsx`, words)
    await expect(counter).toHaveText(`Clicked, save ${saved}, ${clicked} times`, { timeout: 10_000 })
  }).toPass()
  write(
    server,
    id,
    `${HOME}/next/app/page.jsx`,
    source('next', 'app/page.jsx').replace('Hello from Next', 'Hello again'),
  )
  await expect(app.getByRole('heading', { name: 'Hello again' })).toBeVisible()
  await expect(counter).toHaveText(`Clicked, save ${saved}, ${clicked} times`)
  expect(await marked(app)).toBe(true)

  // The picture is made smaller by the server.
  const picture = app.getByRole('img', { name: 'A square' })
  await expect(picture).toHaveAttribute('src', /_next\/image/)
  await expect.poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0)

  // A server action compares the host with the origin of the page.
  await app.getByRole('textbox', { name: 'Name' }).fill('Ada')
  await app.getByRole('button', { name: 'Sign' }).click()
  await expect(app.getByRole('listitem')).toHaveText('Ada')
  expect(await marked(app)).toBe(true)

  const greeted = await app.evaluate(async () => {
    const response = await fetch('/api/greet', { method: 'POST', body: JSON.stringify({ name: 'Ada' }) })
    return response.json()
  })
  expect(greeted).toMatchObject({ greeting: 'Hello Ada' })

  // A redirect of an action, and an absolute one to the address that the app takes for its own.
  await app.getByRole('textbox', { name: 'Name' }).fill('')
  await app.getByRole('button', { name: 'Sign' }).click()
  await expect(app.getByRole('heading', { name: 'Arrived' })).toBeVisible()
  expect(app.url()).toBe(`${origin}/arrived`)
  await app.goBack()
  await app.getByRole('link', { name: 'Leave' }).click()
  await expect(app.getByRole('heading', { name: 'Arrived' })).toBeVisible()
  expect(app.url()).toBe(`${origin}/arrived`)
})

test('Storybook: the manager, a story in its frame, hot updates, and a story that is added', async ({ signedIn: page, server }) => {
  test.slow()
  const id = await session(page)
  await bring(server, id, 'storybook')
  await run(page, `cd ${HOME}/storybook && npm run storybook`)
  await expect(processes(page)).toContainText('1')
  const app = await openPort(page, 6006)
  const told = Promise.all([
    isTold(app, /storybook-server-channel.*page=manager/, '"UNIVERSAL_STORE'),
    isTold(app, /\/\?token=/, '"connected"'),
  ])
  const story = app.frameLocator('#storybook-preview-iframe')
  await expect(story.getByRole('button', { name: 'Press me' })).toBeVisible()

  await told

  // The manager and the frame talk to each other.
  await app.locator('#control-label').fill('Press harder')
  await expect(story.getByRole('button', { name: 'Press harder' })).toBeVisible()
  await mark(app)
  write(
    server,
    id,
    `${HOME}/storybook/src/Button.jsx`,
    source('storybook', 'src/Button.jsx').replace('{label}', '{label}!'),
  )
  await expect(story.getByRole('button', { name: 'Press harder!' })).toBeVisible()

  // The server tells the manager by its WebSocket.
  const text = source('storybook', 'src/Button.stories.jsx')
  write(
    server,
    id,
    `${HOME}/storybook/src/Button.stories.jsx`,
    `${text}\nexport const Other = { args: { label: 'The other' } }\n`,
  )
  await app.getByRole('link', { name: 'Other' }).click()
  await expect(story.getByRole('button', { name: 'The other!' })).toBeVisible()
  expect(await marked(app)).toBe(true)
})

test('http.server: a directory, and a large file', async ({ signedIn: page, server }) => {
  const size = 200 * 1024 * 1024
  await session(page)
  const screen = await run(page, `mkdir /tmp/files; cd /tmp/files; truncate -s ${size} large.bin; python3 -m http.server`)
  await expect(screen).toContainText('Serving HTTP')
  const app = await openPort(page, 8000)
  await expect(app.getByRole('heading', { name: /Directory listing/ })).toBeVisible()
  const download = app.waitForEvent('download')
  await app.getByRole('link', { name: 'large.bin' }).click()
  const stream = await (await download).createReadStream()
  let bytes = 0
  for await (const chunk of stream) bytes += chunk.length
  expect(bytes).toBe(size)
})

test('FastAPI: documentation, a WebSocket, events, uploads, ranges and cookies', async ({ signedIn: page, server }) => {
  const id = await session(page)
  await bring(server, id, 'fastapi')
  const serve = (port: number) =>
    `cd ${HOME}/fastapi && PYTHONPATH=site python3 -m uvicorn app:app --reload --port ${port}`
  await run(page, serve(8000))
  await expect(processes(page)).toContainText('1')
  const app = await openPort(page, 8000)
  const origin = new URL(app.url()).origin

  // The documentation asks the API, whose address it takes from the page.
  await app.goto(`${origin}/docs`)
  await app.getByRole('button', { name: 'GET /parcels/{number} Parcel' }).click()
  await app.getByRole('button', { name: 'Try it out' }).click()
  await app.getByRole('textbox', { name: 'number' }).fill('7')
  await app.getByRole('button', { name: 'Execute' }).click()
  await expect(app.locator('.live-responses-table td.response-col_description').last()).toContainText('on its way')

  const heard = await app.evaluate(async () => {
    const socket = new WebSocket(`ws://${location.host}/ws`)
    await new Promise((open) => socket.addEventListener('open', open))
    socket.send('hello')
    const message = await new Promise<MessageEvent>((next) => socket.addEventListener('message', next))
    socket.close()
    return message.data
  })
  expect(heard).toBe('heard hello')

  const events = await app.evaluate(
    () =>
      new Promise<string[]>((done) => {
        const heard: string[] = []
        const source = new EventSource('/events')
        source.onmessage = ({ data }) => {
          heard.push(data)
          if (heard.length === 5) {
            source.close()
            done(heard)
          }
          // The app makes the next one only then, so nothing on the way gathers them.
          void fetch('/heard', { method: 'POST' })
        }
        source.onerror = () => done(heard)
      }),
  )
  expect(events).toEqual([1, 2, 3, 4, 5].map((number) => `step ${number}`))

  const size = 64 * 1024 * 1024
  const uploaded = await app.evaluate(async (size) => {
    const form = new FormData()
    form.append('file', new Blob([new Uint8Array(size)]), 'large.bin')
    return (await fetch('/upload', { method: 'POST', body: form })).json()
  }, size)
  expect(uploaded).toEqual({ name: 'large.bin', size })

  const part = await app.evaluate(async () => {
    const response = await fetch('/source', { headers: { range: 'bytes=3-9' } })
    return [response.status, response.headers.get('content-range')?.split('/')[0], await response.text()]
  })
  expect(part).toEqual([206, 'bytes 3-9', 'A small'])

  await app.goto(`${origin}/leave`)
  expect(app.url()).toBe(`${origin}/`)

  // Two ports are two origins: each keeps its own cookies, and neither sees ours.
  await app.goto(`${origin}/sign-in?user=ada`)
  await run(page, serve(8001))
  await expect(processes(page)).toContainText('2')
  const other = await openPort(page, 8001)
  expect(JSON.parse(await other.innerText('body'))).toMatchObject({ cookies: {} })
  await other.goto(new URL('/sign-in?user=grace', other.url()).href)
  await app.goto(`${origin}/`)
  expect(JSON.parse(await app.innerText('body'))).toMatchObject({ cookies: { user: 'ada' } })
  await other.goto(new URL('/', other.url()).href)
  expect(JSON.parse(await other.innerText('body'))).toMatchObject({ cookies: { user: 'grace' } })

  // A page may name localhost, as it would at home: its own port, and another one.
  await app.goto(`${origin}/chat`)
  await app.getByRole('textbox', { name: 'Message' }).fill('hello')
  await app.getByRole('button', { name: 'Send' }).click()
  await expect(app.getByText('heard hello')).toBeVisible()
  await app.getByRole('button', { name: 'Ask the other port' }).click()
  await expect(app.getByText('on its way')).toBeVisible()
})

test('what ended, what stopped and who is a stranger is said, with the next step', async ({
  signedIn: page,
  server,
  browser,
}) => {
  const id = await session(page)
  await bring(server, id, 'vite')
  await run(page, `cd ${HOME}/vite && npm run dev`)
  const app = await openPort(page, 5173)
  const title = app.getByRole('heading', { name: 'Hello from Vite' })
  await expect(title).toBeVisible()
  const address = app.url()

  // Ended: said, and over by itself when the server is there again.
  await page.bringToFront()
  await page.getByRole('tabpanel').locator('.xterm-helper-textarea').focus()
  await page.keyboard.press('Control+c')
  await expect(processes(page)).toHaveText('Processes')
  await app.reload()
  await expect(app.getByRole('heading', { name: 'Nothing listens on port 5173' })).toBeVisible()
  await page.keyboard.type('npm run dev\n')
  await expect(title).toBeVisible()

  // A stranger: a way in, for those who may sign in.
  const strangers = await browser.newContext()
  const stranger = await strangers.newPage()
  await stranger.goto(address)
  await expect(stranger.getByRole('heading', { name: 'Not allowed' })).toBeVisible()
  await stranger.getByRole('link', { name: 'Open through Mistle' }).click()
  await expect(stranger.getByRole('heading', { name: /Sign in/ })).toBeVisible()
  // Signed in, they are where the link led.
  await stranger.goto(server.cli('login-link').match(/\S+\/login\?code=\S+/)![0])
  await expect(stranger.getByRole('heading', { name: 'Hello from Vite' })).toBeVisible()
  await strangers.close()

  // Stopped: said, with the way to its Start, and over by itself.
  await page.getByRole('button', { name: 'Session menu' }).click()
  await page.getByRole('menuitem', { name: 'Stop' }).click()
  await expect(page.getByRole('button', { name: 'Status: Stopped' })).toBeVisible()
  await app.reload()
  await expect(app.getByRole('heading', { name: 'This session is stopped' })).toBeVisible()
  const [workbench] = await Promise.all([
    app.context().waitForEvent('page'),
    app.getByRole('link', { name: 'Start it in Mistle' }).click(),
  ])
  await workbench.getByRole('region', { name: 'Stopped' }).getByRole('button', { name: 'Start' }).click()
  await expect(workbench.getByRole('button', { name: 'Status: Ready' })).toBeVisible()
  await expect(app.getByRole('heading', { name: 'Nothing listens on port 5173' })).toBeVisible()
  await page.bringToFront()
  await run(page, `cd ${HOME}/vite && npm run dev`)
  await expect(title).toBeVisible()
})

test('five servers at once are told apart, and the page of a closed port offers them', async ({
  signedIn: page,
  server,
}) => {
  const id = await session(page)
  await Promise.all([bring(server, id, 'vite'), bring(server, id, 'fastapi')])
  const site = `cd ${HOME}/fastapi && export PYTHONPATH=site`
  const screen = await run(
    page,
    `(cd ${HOME}/vite && npm run dev) & (${site}; python3 -m uvicorn app:app --port 8000) & (${site}; python3 -m uvicorn app:app --port 8001) & python3 -m http.server 9000 & node -e "http.createServer((_, a) => a.end()).listen(3000)"`,
  )
  await expect(screen).toBeVisible()
  await expect(processes(page)).toContainText('5')
  const list = await processList(page)
  const rows = list.getByRole('listitem')
  await expect(rows).toHaveText([
    /^3000node.*http.createServer/,
    /^5173node.*…\/vite/,
    /^8000python3.*uvicorn app:app --port 8000/,
    /^8001python3.*uvicorn app:app --port 8001/,
    /^9000python3.*http.server 9000/,
  ])
  // What programs print in the terminal behind it has the colours that they chose.
  const { violations } = await new AxeBuilder({ page }).include('[role=dialog]').analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])

  const app = await openPort(page, 9000)
  server.cli('session', 'exec', id, '--', 'pkill', '-f', 'http.server 9000')
  await expect(processes(page)).toContainText('4')
  await app.reload()
  await expect(app.getByRole('heading', { name: 'Nothing listens on port 9000' })).toBeVisible()
  await expect(app.getByRole('listitem')).toHaveCount(4)
  // Long commands are cut rather than the page widened.
  await app.setViewportSize({ width: 390, height: 844 })
  expect(await app.evaluate(() => document.documentElement.scrollWidth)).toBe(390)
  await app.getByRole('link', { name: /5173/ }).click()
  await expect(app.getByRole('heading', { name: 'Hello from Vite' })).toBeVisible()
})
