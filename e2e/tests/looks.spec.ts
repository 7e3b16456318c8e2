// Every page and state, in light and dark, on a desktop and on a phone: accessible, and pictures to look at.

import { AxeBuilder, atRest } from '../axe.ts'
import type { Page } from '@playwright/test'
import { approval, newSession, sessionId, status } from '../session.ts'
import { expect, type Server, test } from '../server.ts'

const SIZES = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } }

/** Pages on an app's origin wait for it without a script: they ask again by themselves. */
const WAITING = 'meta-refresh'

type View = {
  /** Rules that can't hold there. */
  except?: string[]
  /** What is on the page when it is ready. */
  ready: (page: Page) => Promise<void>
  open: (page: Page) => Promise<unknown>
}

const heading = (name: string | RegExp) => (page: Page) => expect(page.getByRole('heading', { name })).toBeVisible()
const text = (words: string | RegExp) => (page: Page) => expect(page.getByText(words).first()).toBeVisible()

/** The panel of a session's page by its button, or on a phone by its tab. */
async function pane(page: Page, name: 'Changes' | 'Terminal') {
  const tab = page.getByRole('navigation', { name: 'Panes' }).getByRole('button', { name })
  const button = page.getByRole('button', { name: new RegExp(`^${name}`) }).first()
  await tab.or(button).first().waitFor()
  await ((await tab.isVisible()) ? tab : button).click()
}

async function look(page: Page, name: string, view: View, path: string) {
  await view.open(page)
  await view.ready(page)
  const check = async () => {
    // Sheets and menus have come to rest.
    await atRest(page)
    await page.screenshot({ path })
    const { violations } = await new AxeBuilder({ page }).disableRules(view.except ?? []).analyze()
    expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), name).toEqual([])
  }
  // A page that asks again by itself may go while one looks at it, and comes back.
  if (view.except?.includes(WAITING)) await expect(check).toPass()
  else await check()
}

/** A preview's address, which lets in once. */
async function preview(server: Server, id: string, port: number) {
  return (await server.api<{ url: string }>('POST', `/sessions/${id}/ports/${port}/open`)).url
}

for (const scheme of ['light', 'dark'] as const) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    test(`every page is accessible in ${scheme} on a ${size}`, async ({ signedIn: page, server, browser }, info) => {
      test.slow()
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' })
      await page.setViewportSize(viewport)
      const visit = (path: string) => (of: Page) => of.goto(server.url + path)
      const shoot = (of: Page, name: string, view: View) => look(of, name, view, info.outputPath(`${name}.png`))
      const list = size === 'phone' ? '/' : '/new'

      await shoot(page, 'empty-list', { open: visit('/'), ready: text('Your sessions will be listed here') })
      await shoot(page, 'new', { open: visit('/new'), ready: (of) => expect(of.getByRole('textbox', { name: /task/i })).toBeVisible() })

      const repository = server.repository('notes', { 'README.md': '# Notes\n', 'src/app.ts': 'export const answer = 41\n' })
      await newSession(page, 'run: sed -i s/41/42/ src/app.ts && echo more >> README.md', repository)
      const id = sessionId(page)
      await expect(approval(page)).toBeVisible()
      await shoot(page, 'session-approval', { open: visit(`/s/${id}`), ready: (of) => expect(approval(of)).toBeVisible() })
      await approval(page).getByRole('button', { name: /^Approve( Y)?$/ }).click()
      await expect(status(page)).toHaveAccessibleName(/Ready/)
      await shoot(page, 'session-chat', { open: visit(`/s/${id}`), ready: (of) => expect(status(of)).toHaveAccessibleName(/Ready/) })
      await shoot(page, 'session-changes', { open: (of) => pane(of, 'Changes'), ready: text('export const answer = 42') })
      await shoot(page, 'session-terminal', {
        open: (of) => pane(of, 'Terminal'),
        ready: (of) => expect(of.locator('.xterm-rows')).toContainText('#'),
      })
      if (size === 'desktop') {
        await page.goto(`${server.url}/s/${id}?panel=tui`)
        await expect(page.getByRole('main', { name: /own interface/ })).toBeVisible()
        await expect(page.locator('.xterm-rows').last()).toContainText(/Codex|model/i)
        await page.screenshot({ path: info.outputPath('session-tui.png') })
        await page.goto(`${server.url}/s/${id}?panel=`)
      }

      // The list: many, searched, and nothing found.
      for (const title of ['Paint the shed', 'Mend the fence', 'A title that is so long that no list can show all of it at once']) {
        server.cli('session', 'new', 'say: Done', '--title', title)
      }
      await shoot(page, 'list', { open: visit(list), ready: (of) => expect(of.getByRole('link', { name: /Mend the fence/ })).toBeVisible() })
      await shoot(page, 'list-search', {
        open: visit(`${list}?q=the&status=ready,running`),
        ready: (of) => expect(of.getByRole('link', { name: /Paint the shed/ })).toBeVisible(),
      })
      await shoot(page, 'list-nothing', { open: visit(`${list}?q=nothing+like+it`), ready: text('No session matches.') })

      await shoot(page, 'settings', { open: visit('/settings'), ready: heading('Settings') })
      await shoot(page, 'not-found', { open: visit('/nowhere'), ready: heading('There is nothing here') })

      // A preview that nothing listens for, one that is not let in, and one of a stopped session.
      const guest = await browser.newContext({ colorScheme: scheme, viewport })
      const outside = await guest.newPage()
      const address = await preview(server, id, 9999)
      await shoot(outside, 'preview-not-allowed', { open: (of) => of.goto(new URL('/', address).href), ready: heading('Not allowed') })
      await shoot(outside, 'preview-closed', {
        open: (of) => of.goto(address),
        ready: heading(/Nothing listens/),
        except: [WAITING],
      })
      server.cli('session', 'stop', id, '--wait')
      // It looks again by itself.
      await shoot(outside, 'preview-stopped', { open: async () => {}, ready: heading('This session is stopped'), except: [WAITING] })

      await shoot(page, 'session-stopped', { open: visit(`/s/${id}`), ready: (of) => expect(status(of)).toHaveAccessibleName(/Stopped/) })
      server.cli('session', 'delete', id)
      await shoot(page, 'session-deleted', { open: visit(`/s/${id}`), ready: heading('This session was deleted') })
      await shoot(page, 'trash', { open: visit('/deleted'), ready: (of) => expect(of.getByRole('button', { name: /^Restore/ })).toBeVisible() })
      await shoot(outside, 'preview-deleted', { open: async () => {}, ready: heading('This session is deleted'), except: [WAITING] })

      await shoot(outside, 'sign-in', { open: (of) => of.goto(`${server.url}/s/${id}`), ready: heading('Sign in to Mistle') })
      await shoot(outside, 'sign-in-used', { open: (of) => of.goto(server.loginLink), ready: text('This link was used already') })
      await page.context().clearCookies()
      await shoot(page, 'signed-out', { open: (of) => of.getByRole('button', { name: /^Restore/ }).click(), ready: heading('You are signed out') })
    })
  }
}
