locals {
  bucket = coalesce(var.bucket_name, "${var.name}-contexts-${local.account}-${var.region}")

  # Every object is contexts/sha256/DIGEST.tar.gz; the server accepts no other key.
  context_prefix = "contexts/"
}

resource "aws_s3_bucket" "contexts" {
  # checkov:skip=CKV_AWS_18: Access logs want a bucket of their own; add them where your rules ask for it.
  # checkov:skip=CKV_AWS_21: A context is named by its content and is gone in a week: an older version of it cannot exist.
  # checkov:skip=CKV_AWS_144: A client can upload it again: nothing here is worth a copy in another region.
  # checkov:skip=CKV_AWS_145: Encrypted with S3's key. One of yours asks for kms:Decrypt in the task role, and for that and kms:GenerateDataKey in the client's.
  # checkov:skip=CKV2_AWS_62: The server learns of an upload from the client: nobody waits for events.
  bucket        = local.bucket
  force_destroy = var.bucket_force_destroy
}

resource "aws_s3_bucket_public_access_block" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  rule {
    id     = "contexts-expire"
    status = "Enabled"

    filter {
      prefix = local.context_prefix
    }

    expiration {
      days = var.context_days
    }
  }

  # What a cancelled client has left behind: parts are invisible, and cost until they are aborted.
  rule {
    id     = "uploads-abort"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

# Whoever holds the rights still has to come by TLS.
resource "aws_s3_bucket_policy" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::${local.bucket}", "arn:aws:s3:::${local.bucket}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.contexts]
}
