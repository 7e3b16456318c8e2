import { Link } from "wouter";

export function NotFound() {
  return (
    <div className="notice-page">
      <h1>There is nothing here</h1>
      <p>The address is wrong, or what it pointed to is gone.</p>
      <Link href="/new" className="btn primary">
        New session
      </Link>
    </div>
  );
}
