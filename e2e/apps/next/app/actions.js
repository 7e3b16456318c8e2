'use server'

import { revalidatePath } from 'next/cache'
import { redirect } from 'next/navigation'
import { names } from './names.js'

export async function sign(form) {
  const name = String(form.get('name'))
  if (name === '') redirect('/arrived')
  names().push(name)
  revalidatePath('/')
}
