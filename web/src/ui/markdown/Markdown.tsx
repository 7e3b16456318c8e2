/**
 * Markdown from an agent: untrusted. Nothing in it becomes HTML; links go to http, https and mailto
 * only and carry nothing along; images are shown as links, so that opening a page fetches nothing
 * that an agent chose.
 */
import type { AlignType, Code, List, PhrasingContent, RootContent, Table } from "mdast";
import { Fragment, memo, type ReactNode, useRef } from "react";
import { CopyIconButton } from "../CopyButton";
import "./markdown.css";
import { type Block, NOTHING, parseMarkdown } from "./parse";

const SAFE = /^(https?:|mailto:)/i;

function SafeLink({ url, children }: { url: string; children: ReactNode }) {
  if (!SAFE.test(url)) return <>{children}</>;
  return (
    <a href={url} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

function inlines(nodes: readonly PhrasingContent[]): ReactNode {
  // biome-ignore lint/suspicious/noArrayIndexKey: the position is what tells siblings of a parse apart
  return nodes.map((node, i) => <Fragment key={i}>{inline(node)}</Fragment>);
}

function inline(node: PhrasingContent): ReactNode {
  switch (node.type) {
    case "text":
    case "html":
      return node.value;
    case "emphasis":
      return <em>{inlines(node.children)}</em>;
    case "strong":
      return <strong>{inlines(node.children)}</strong>;
    case "delete":
      return <del>{inlines(node.children)}</del>;
    case "inlineCode":
      return <code>{node.value}</code>;
    case "break":
      return <br />;
    case "link":
      return <SafeLink url={node.url}>{inlines(node.children)}</SafeLink>;
    case "image":
      return <SafeLink url={node.url}>{node.alt || node.url}</SafeLink>;
    case "linkReference":
      return inlines(node.children);
    case "imageReference":
      return node.alt;
    case "footnoteReference":
      return `[${node.identifier}]`;
    default:
      return null;
  }
}

/** Added and removed lines, in their colours. */
function diffLines(text: string): ReactNode {
  return text.split("\n").map((line, i) => {
    const kind = line.startsWith("+")
      ? "md-line added"
      : line.startsWith("-")
        ? "md-line removed"
        : "md-line";
    return (
      // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other name
      <span key={i} className={kind}>
        {line}
        {"\n"}
      </span>
    );
  });
}

function CodeBlock({ node }: { node: Code }) {
  return (
    <figure className="md-code">
      <figcaption>
        <span>{node.lang ?? "text"}</span>
        <CopyIconButton text={node.value} label="Copy code" />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>
        <code>{node.lang === "diff" ? diffLines(node.value) : node.value}</code>
      </pre>
    </figure>
  );
}

function ListBlock({ node }: { node: List }) {
  const items = node.children.map((item, i) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: the position is what tells siblings of a parse apart
    <li key={i} className={item.checked == null ? undefined : "md-task"}>
      {item.checked != null && (
        <input
          type="checkbox"
          checked={item.checked}
          readOnly
          disabled
          aria-label={item.checked ? "done" : "open"}
        />
      )}
      {item.children.map((child, j) =>
        child.type === "paragraph" && !item.spread ? (
          // biome-ignore lint/suspicious/noArrayIndexKey: as above
          <Fragment key={j}>{inlines(child.children)}</Fragment>
        ) : (
          // biome-ignore lint/suspicious/noArrayIndexKey: as above
          <Fragment key={j}>{block(child)}</Fragment>
        ),
      )}
    </li>
  ));
  return node.ordered ? <ol start={node.start ?? 1}>{items}</ol> : <ul>{items}</ul>;
}

function cell(
  tag: "th" | "td",
  align: AlignType | undefined,
  children: readonly PhrasingContent[],
  key: number,
) {
  // A corner without text heads nothing.
  const Tag = children.length === 0 ? "td" : tag;
  return (
    <Tag key={key} style={align ? { textAlign: align } : undefined}>
      {inlines(children)}
    </Tag>
  );
}

function TableBlock({ node }: { node: Table }) {
  const [head, ...rows] = node.children;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <div className="md-table" tabIndex={0}>
      <table>
        <thead>
          <tr>{head?.children.map((c, i) => cell("th", node.align?.[i], c.children, i))}</tr>
        </thead>
        <tbody>
          {rows.map((row, r) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows of a table have no other name
            <tr key={r}>{row.children.map((c, i) => cell("td", node.align?.[i], c.children, i))}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const HEADINGS = ["h2", "h3", "h4", "h5", "h6", "h6"] as const;

function block(node: RootContent): ReactNode {
  switch (node.type) {
    case "paragraph":
      return <p>{inlines(node.children)}</p>;
    case "heading": {
      // The first level is the page's own title.
      const Tag = HEADINGS[node.depth - 1] ?? "h6";
      return <Tag>{inlines(node.children)}</Tag>;
    }
    case "code":
      return <CodeBlock node={node} />;
    case "blockquote":
      return (
        <blockquote>
          {node.children.map((child, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the position is what tells siblings apart
            <Fragment key={i}>{block(child)}</Fragment>
          ))}
        </blockquote>
      );
    case "list":
      return <ListBlock node={node} />;
    case "table":
      return <TableBlock node={node} />;
    case "thematicBreak":
      return <hr />;
    case "html":
      return <p className="md-raw">{node.value}</p>;
    case "footnoteDefinition":
      return (
        <div className="md-note">
          [{node.identifier}]{" "}
          {node.children.map((child, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the position is what tells siblings apart
            <Fragment key={i}>{block(child)}</Fragment>
          ))}
        </div>
      );
    default:
      return null;
  }
}

const BlockView = memo(({ node }: Pick<Block, "node">) => block(node));

export const Markdown = memo(({ text }: { text: string }) => {
  const parsed = useRef(NOTHING);
  parsed.current = parseMarkdown(text, parsed.current);
  return (
    <div className="md">
      {parsed.current.blocks.map(({ start, node }) => (
        <BlockView key={start} node={node} />
      ))}
    </div>
  );
});
