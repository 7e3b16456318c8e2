// Accessibility of every page, in light and dark, on a desktop and on a phone.

import AxeBuilder from '@axe-core/playwright'
import { approval, newSession } from '../session.ts'
import { expect, test } from '../server.ts'

const SIZES = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } }

for (const scheme of ['light', 'dark'] as const) {
  test(`every page is accessible in ${scheme}`, async ({ signedIn: page, server }, info) => {
    test.slow()
    await page.emulateMedia({ colorScheme: scheme })
    await newSession(page, 'Fix the failing test')
    await expect(approval(page)).toBeVisible()
    const session = page.url()
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport)
      for (const [name, url] of Object.entries({
        session,
        new: `${server.url}/new`,
        settings: `${server.url}/settings`,
        missing: `${server.url}/nowhere`,
      })) {
        await page.goto(url)
        await expect(page.getByRole('main').first()).toBeVisible()
        if (name === 'session') await expect(approval(page)).toBeVisible()
        await page.screenshot({ path: info.outputPath(`${name}-${size}-${scheme}.png`) })
        const { violations } = await new AxeBuilder({ page }).analyze()
        expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), `${name}, ${size}`).toEqual([])
      }
    }
  })
}
