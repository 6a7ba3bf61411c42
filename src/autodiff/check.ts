export async function gradientCheck(): Promise<void> {}
