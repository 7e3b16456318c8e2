// Its own address, absolute: what an app thinks that it is reached by.
export function GET(request) {
  return Response.redirect(new URL('/arrived', request.url))
}
