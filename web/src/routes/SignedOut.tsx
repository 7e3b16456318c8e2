import { Mark } from "../ui/Brand";
import { Button } from "../ui/Button";
import "../app/shell.css";

/** The server says that nobody is signed in: the session ended or was revoked. */
export function SignedOut() {
  return (
    <main className="notice-page">
      <Mark size={28} />
      <h1>You are signed out</h1>
      <p>Open a sign-in link in this browser. On the machine that runs the server, print one with:</p>
      <pre>mistle login-link</pre>
      <p>A link works once. Drafts are kept in this browser, and sessions go on without you.</p>
      <Button look="primary" onClick={() => location.reload()}>
        I have signed in
      </Button>
    </main>
  );
}
