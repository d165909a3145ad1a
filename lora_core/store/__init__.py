"""Where rows and files live. `base` has the contracts; `local` and `supabase` implement them."""
