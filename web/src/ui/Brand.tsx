export function Mark({ size = 14 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <path
        d="M16 3c7.2 0 13 5.8 13 13s-5.8 13-13 13H5.5A2.5 2.5 0 0 1 3 26.5V16C3 8.8 8.8 3 16 3z"
        fill="var(--mark)"
      />
    </svg>
  );
}
