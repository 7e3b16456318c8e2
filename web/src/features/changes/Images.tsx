import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import {
  type ChangedFile,
  type Comparison,
  changesApi,
  type FileDiff,
  keyOf,
  type Side,
} from "../../api/changes";
import { ApiError } from "../../api/client";
import { sizeText } from "./describe";

async function load(url: string, signal: AbortSignal): Promise<Blob> {
  const response = await fetch(url, { credentials: "same-origin", signal });
  if (!response.ok) {
    const problem = { type: "image", title: "The image can't be read.", status: response.status };
    throw new ApiError("Load image", "GET", url, problem);
  }
  return response.blob();
}

/** An image of the sandbox. As an image it runs nothing. */
function Picture({
  comparison,
  file,
  side,
  base,
}: {
  comparison: Comparison;
  file: ChangedFile;
  side: Side;
  base: string;
}) {
  const { data, error } = useQuery({
    queryKey: ["image", comparison, keyOf(file.path), file.fingerprint, base, side],
    queryFn: ({ signal }) => load(changesApi.blobUrl(comparison, file, side), signal),
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false,
    retry: false,
  });
  const [url, setUrl] = useState<string>();
  const [size, setSize] = useState<string>();
  useEffect(() => {
    if (!data) return;
    const made = URL.createObjectURL(data);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [data]);
  const word = side === "old" ? "Before" : "After";
  return (
    <figure className={side === "old" ? "picture before" : "picture after"}>
      <div className="picture-frame">
        {url && (
          <img
            src={url}
            alt={`${file.path.text}, ${word.toLowerCase()}`}
            onLoad={({ currentTarget }) =>
              setSize(`${currentTarget.naturalWidth} × ${currentTarget.naturalHeight}`)
            }
            onError={() => setSize("not an image that a page can show")}
          />
        )}
      </div>
      <figcaption>
        {word}
        {error ? " · could not be loaded" : ""}
        {size && ` · ${size}`}
        {data && ` · ${sizeText(data.size)}`}
      </figcaption>
    </figure>
  );
}

/** The sides of an image, beside each other. */
export function Images({
  comparison,
  file,
  sides,
  base,
}: {
  comparison: Comparison;
  file: ChangedFile;
  sides: NonNullable<FileDiff["image"]>;
  base: string;
}) {
  return (
    <div className="pictures">
      {sides.old && <Picture comparison={comparison} file={file} side="old" base={base} />}
      {sides.new && <Picture comparison={comparison} file={file} side="new" base={base} />}
    </div>
  );
}
