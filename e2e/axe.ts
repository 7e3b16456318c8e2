// What a screen reader, and a person who sees little, get of a page.

import { AxeBuilder as Base } from '@axe-core/playwright'
import type { Page } from '@playwright/test'

/** Waits until what appeared and moved has come to rest: halfway it has other colours. What never rests is not waited for. */
export async function atRest(page: Page) {
  await page.evaluate(async () => {
    const ends = (animation: Animation) => animation.effect?.getComputedTiming().endTime !== Number.POSITIVE_INFINITY
    const moving = document.getAnimations().filter(ends)
    await Promise.all(moving.map((animation) => animation.finished.catch(() => {})))
  })
}

/** The checks of axe, on a page at rest. */
export class AxeBuilder extends Base {
  readonly looked: Page

  constructor({ page }: { page: Page }) {
    super({ page })
    this.looked = page
  }

  override async analyze() {
    await atRest(this.looked)
    return super.analyze()
  }
}
