// The terminal drawn by the graphics card, which a software renderer stands in for. The other tests
// switch it off, so that they can read the rows.

import { newSession } from '../session.ts'
import { expect, test } from '../server.ts'
import { chromium } from '../playwright.config.ts'

const switchedOff = ['--disable-gpu', '--disable-3d-apis']

test.use({
  launchOptions: {
    ...chromium,
    args: [
      ...chromium.args.filter((argument) => !switchedOff.includes(argument)),
      '--use-angle=swiftshader',
      '--enable-unsafe-swiftshader',
    ],
  },
})

test('a terminal is drawn by WebGL, and by the document when its context is lost', async ({ signedIn: page }) => {
  await newSession(page, 'say: hello')
  await expect(page.getByRole('button', { name: 'Status: Ready' })).toBeVisible()
  await page.keyboard.press('Control+j')
  const panel = page.getByRole('tabpanel')
  const rows = panel.locator('.xterm-rows')
  const drawn = panel.locator('.xterm-screen > canvas:not(.xterm-link-layer)')
  await expect(drawn).toHaveCount(1)
  await expect(rows).toHaveCount(0)

  // What is typed is painted: a picture of text takes more bytes than one of an empty screen.
  const inked = async () => (await drawn.screenshot()).length
  const before = await inked()
  await panel.locator('.xterm-helper-textarea').focus()
  await page.keyboard.type('seq -s "" 400\n')
  await expect.poll(inked).toBeGreaterThan(before + 2_000)

  await drawn.evaluate((canvas: HTMLCanvasElement) => {
    canvas.getContext('webgl2')!.getExtension('WEBGL_lose_context')!.loseContext()
  })
  await expect(rows).toContainText('398399400')
  await page.keyboard.type('echo "still $((40 + 2))"\n')
  await expect(rows).toContainText('still 42')
})
