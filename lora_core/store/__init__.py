"""Where rows and files live. `base` has the contracts; `local` and later `supabase` implement them."""
