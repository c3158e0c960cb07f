module opentofu

go 1.26

require github.com/opentofu/opentofu v1.11.0

// What OpenTofu's own go.mod says; only a main module's word counts.
replace github.com/hashicorp/hcl/v2 v2.20.1 => github.com/opentofu/hcl/v2 v2.20.2-0.20251021132045-587d123c2828
